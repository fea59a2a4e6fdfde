"""The lab of vision-language models: prompts and pictures through vision encoder, embedding and decoder."""

from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from nexus_edge import processing
from nexus_edge.bundle import BundleWeights
from nexus_edge.parity.lab import Lab
from nexus_edge.parity.metrics import Array, Values
from nexus_edge.parity.report import Check
from nexus_edge.parity.sources import build_quantized
from nexus_edge.parity.stages import Step
from nexus_edge.parity.vlm.cases import Case, walk
from nexus_edge.processing import Processor

if TYPE_CHECKING:
    from nexus_edge.models.base import ReferenceModel
    from nexus_edge.runtimes import VLM


class VlmLab(Lab):
    """See `Lab`; a family adds its prompts, its goldens, and its own way from pictures to crops."""

    _own_answers: list[bool] | None = None

    @abstractmethod
    def make_cases(self) -> list[Case]:
        """Prompts with pictures and without."""

    @abstractmethod
    def original_pixels(self, case: Case) -> Array:
        """`pixel_values` of a case's pictures by other code than `nexus_edge.processing`."""

    @abstractmethod
    def processor_for(self, case: Case, processor: Processor) -> Processor:
        """A processor with the settings that the case was made with."""

    @cached_property
    def processor(self) -> Processor:
        return processing.from_checkpoint(self.bundle.root)

    @cached_property
    def cases(self) -> list[Case]:
        return self.make_cases()

    @property
    def text_case(self) -> Case:
        """The case that needs no picture and no long context."""
        return next(case for case in self.cases if case.prompt and not case.pictures)

    @cached_property
    def streamed_text(self) -> Values:
        """What the quantized model makes of the text case, computed with one layer in memory."""
        from nexus_edge.parity.vlm.streamed import bundle_reader, capture_streamed

        read = bundle_reader(BundleWeights(self.bundle))
        return capture_streamed(build_quantized(self.bundle), read, self.text_case)

    def steps(self, model: "ReferenceModel") -> Iterator[Step]:
        from nexus_edge.graphs import split_of

        return walk(model, split_of(self.manifest.model_type).graphs(model), self.cases)

    def compare_schemes(self) -> list[Check]:
        from nexus_edge.parity.vlm.scheme import compare_schemes

        return compare_schemes(self)

    def compare_end_to_end(self, target: str) -> list[Check]:
        from nexus_edge.parity.vlm.end_to_end import compare_end_to_end

        return compare_end_to_end(self, target)

    def compare_examples(self, target: str) -> list[Check]:
        from nexus_edge.parity.vlm.own_data import compare_examples

        return compare_examples(self, target)

    def own_answers(self, vlm: "VLM", most: int) -> list[bool]:
        """Whether full precision answers each of the user's questions right; computed once for all targets."""
        if self._own_answers is None:
            from nexus_edge.parity.vlm.own_data import full_answers

            self._own_answers = full_answers(self, vlm, most)
        return self._own_answers

    def record(self) -> Iterator[tuple[str, Array]]:
        from nexus_edge.parity.vlm.goldens import record

        return record(self)
