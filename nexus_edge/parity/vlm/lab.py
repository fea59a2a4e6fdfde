"""The lab of vision-language models: prompts and pictures through vision encoder, embedding and decoder."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nexus_edge import processing
from nexus_edge.bundle import BundleWeights
from nexus_edge.errors import NexusEdgeError
from nexus_edge.parity.lab import Lab, Reference
from nexus_edge.parity.metrics import Array
from nexus_edge.parity.precisions import runtime_options
from nexus_edge.parity.report.report import Check, NotRunError
from nexus_edge.parity.sources import build_quantized, largest_part_bytes, weight_bytes
from nexus_edge.parity.stages import Step
from nexus_edge.parity.vlm.answers import Answer
from nexus_edge.parity.vlm.cases import Case
from nexus_edge.parity.vlm.references import References, wanted_rows
from nexus_edge.processing import Processor

if TYPE_CHECKING:
    from nexus_edge.parity.vlm.end_to_end import Found
    from nexus_edge.parity.vlm.streamed import Call, Streamed, Trace
    from nexus_edge.runtimes import VLM, EngineOptions

ACTIVATION_BYTES = 500_000
"""Of one token in the widest place of a layer: a gated MLP of 2 x 8,192 in a few copies, and its row of scores."""


class VlmLab(Lab):
    """See `Lab`; a family adds its prompts, its goldens, and its own way from pictures to crops."""

    streams = True
    _cases: list[Case] | None = None
    _own_answers: list[bool] | None = None

    @abstractmethod
    def make_cases(self) -> list[Case]:
        """Prompts with pictures and without."""

    @property
    @abstractmethod
    def long_after(self) -> int | None:
        """Tokens up to which a sequence takes LongRoPE's short list; None for a model with one list of factors."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """In words, the cases that a model of this size is not asked."""
        return ()

    @abstractmethod
    def original_pixels(self, case: Case) -> Array:
        """`pixel_values` of a case's pictures by other code than `nexus_edge.processing`."""

    @abstractmethod
    def processor_for(self, case: Case, processor: Processor) -> Processor:
        """A processor with the settings that the case was made with."""

    @cached_property
    def processor(self) -> Processor:
        return processing.from_checkpoint(self.bundle.root)

    @property
    def cases(self) -> list[Case]:
        """What is asked: all of the family's, unless others are set. Setting them forgets what came of those before."""
        if self._cases is None:
            self._cases = self.make_cases()
        return self._cases

    @cases.setter
    def cases(self, cases: list[Case]) -> None:
        self._cases = cases
        for name in ("references", "_answers"):
            self.__dict__.pop(name, None)

    @cached_property
    def references(self) -> References:
        """Of the cases with the original's pixels, so that a fault of our own processing is in no reference."""
        return References(self.streamed, {case.name: self._prompt(case) for case in self.cases}, self.long_after)

    def _prompt(self, case: Case) -> "Call":
        from nexus_edge.parity.vlm.streamed import Call

        ids, sizes = case.inputs["input_ids"], case.inputs.get("image_sizes")
        images = None if sizes is None else (self.original_pixels(case), np.asarray(sizes))
        return Call(ids, wanted_rows(ids[0]), images)

    def streamed(self, reference: Reference) -> "Streamed":
        """One of the models, to be read layer by layer."""
        import torch

        from nexus_edge.models.loading import build_model
        from nexus_edge.parity.settled import as_float, as_stored
        from nexus_edge.parity.vlm.streamed import Streamed, bundle_reader, checkpoint_reader

        if reference == "full":
            with torch.device("meta"):
                model = build_model(self.source)
            return Streamed(model, checkpoint_reader(self.source, model))
        settle = as_stored if reference == "quantized" else as_float
        return Streamed(build_quantized(self.bundle), bundle_reader(BundleWeights(self.bundle)), settle)

    def traces(self, reference: Reference) -> "dict[str, Trace]":
        """What every case leaves in a model; raises NotRunError where not even a layer of it fits."""
        self._require_room(reference)
        return self.references.traces(reference)

    def forced(self, reference: Reference, answers: Mapping[str, tuple[int, ...]]) -> dict[str, Answer]:
        """See `References.forced`; raises NotRunError as `traces` does."""
        self._require_room(reference)
        return self.references.forced(reference, answers)

    def answers(self, target: str, options: "EngineOptions") -> "list[Found]":
        """What the runtime of a target makes of the cases; raises NotRunError where it would not fit."""
        from nexus_edge.parity.vlm.end_to_end import answer_all

        if (target, options) not in self._answers:
            self.require_memory(2 * weight_bytes(self.bundle), "the runtime that ships")
            self._answers[target, options] = answer_all(self, target, options)
        return self._answers[target, options]

    def any_answers(self) -> dict[str, tuple[int, ...]]:
        """Token ids by the case's name, of the first target whose runtime runs here, rounding as little as it can.

        Raises:
            NotRunError: none of them does.
        """
        reasons = []
        for target in (name for name in self.manifest.targets if name not in self.broken):
            try:
                found = self.answers(target, next(iter(runtime_options(target).values())))
            except (NexusEdgeError, NotRunError) as error:
                reasons.append(str(error))
            else:
                return {entry.case.name: tuple(entry.answer.ids) for entry in found}
        raise NotRunError("; ".join(reasons) or "no graph is worth running")

    @cached_property
    def _answers(self) -> "dict[tuple[str, EngineOptions], list[Found]]":
        return {}

    def _require_room(self, reference: Reference) -> None:
        if reference == "full" and isinstance(self.checkpoint, str):
            raise NotRunError(self.checkpoint)
        self.require_memory(self.reference_bytes(reference), "one layer in float32 with its activations")
        for note in self.left_out:
            self.note(note)

    def reference_bytes(self, reference: Reference) -> int:
        """One layer in float32, as it is stored, and the longest prompt's activations in it."""
        tokens = max(case.inputs["input_ids"].shape[1] for case in self.cases)
        return largest_part_bytes(self.bundle) * 5 // 4 + tokens * ACTIVATION_BYTES

    def steps(self, reference: Reference) -> Iterator[Step]:
        from nexus_edge.families import family_named

        self._require_room(reference)
        return self.references.steps(reference, family_named(self.manifest.model_type).split().owner)

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
