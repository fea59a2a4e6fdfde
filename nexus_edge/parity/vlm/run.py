"""What a run asks a vision-language model, and what the models in PyTorch and the runtime made of it so far."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nexus_edge import processing
from nexus_edge.interfaces.family import VlmFamily
from nexus_edge.interfaces.graph import Interface
from nexus_edge.interfaces.host import VlmHost
from nexus_edge.interfaces.parity import VlmCases
from nexus_edge.parity.kinds import judged_family
from nexus_edge.parity.metrics import Array
from nexus_edge.parity.references import Reference
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.sources import build_quantized, largest_part_bytes, parameter_count
from nexus_edge.parity.stages import Step
from nexus_edge.parity.vlm.answers import Answer
from nexus_edge.parity.vlm.cases import Case
from nexus_edge.parity.vlm.references import StreamedReferences, wanted_rows
from nexus_edge.parity.vlm.runtime_answers import RuntimeAnswers
from nexus_edge.processing import Processor
from nexus_edge.processing.folder import read_json
from nexus_edge.runtimes.hosts import host_maker

if TYPE_CHECKING:
    from nexus_edge.parity.vlm.streamed import Call, Streamed, Trace

LARGE = 1_000_000_000
"""Parameters from which cases with several images are left out: their tokens cost more than all other cases together,
and what they ask beyond one image, whose features go where, depends on no weight."""


@dataclass
class VlmRun:
    """See `vlm_run`.

    Attributes:
        run: whose bundle is asked
        given: by its family
        processor: the bundle's
        limit: tokens up to which a sequence takes LongRoPE's short factors; None for a model with one list of factors
        cases: prompts with images and without
        left_out: in words, the cases that a model of this size is not asked
        own_right: whether full precision answers each of the user's questions right; None: it was not asked yet
    """

    run: ParityRun
    given: VlmCases
    processor: Processor
    limit: int | None
    cases: Sequence[Case]
    left_out: tuple[str, ...] = ()
    own_right: list[bool] | None = None

    @cached_property
    def references(self) -> StreamedReferences:
        """Of the cases with the original's pixels, so that a fault of our own processing is in no reference."""
        return StreamedReferences(
            source=partial(_open, self.run),
            prompts={case.name: self._prompt(case) for case in self.cases},
            limit=self.limit,
            memory=self.run.memory,
            part_bytes=largest_part_bytes(self.run.bundle),
        )

    @cached_property
    def runtime(self) -> RuntimeAnswers:
        """Of the cases."""
        return RuntimeAnswers(self.run, self.cases, self.processor.stop_ids)

    @cached_property
    def original_processor(self) -> Processor | None:
        """The checkpoint's own, where it is at hand: the bundle's may be what is wrong."""
        checkpoint = self.run.checkpoint
        folder = None if isinstance(checkpoint, str) else checkpoint.folder
        return None if folder is None else processing.from_checkpoint(folder)

    def original_pixels(self, case: Case) -> Array:
        """`pixel_values` of a case's images by other code than `nexus_edge.processing`."""
        return self.given.original_pixels(case, self.original_processor or self.processor)

    @cached_property
    def host(self) -> VlmHost:
        """Of the graphs of the split, whatever the targets make of them."""
        specs = judged_family(self.run.manifest.model_type).split().graphs(build_quantized(self.run.bundle))
        graphs = {spec.name: Interface(spec.inputs, spec.outputs) for spec in specs}
        make = host_maker(self.run.bundle)
        assert make is not None, "only vision-language models are asked"
        return make(graphs, self.run.bundle.root)

    def is_image(self, case: Case) -> NDArray[np.bool_]:
        """bool [tokens], where image features go."""
        return self.host.prompt(case.inputs).is_image

    def traces(self, reference: Reference) -> "dict[str, Trace]":
        """What every case leaves in a model, by the case's name; raises NotRunError where not even a layer fits."""
        self._begin(reference)
        return self.references.traces(reference)

    def forced(self, reference: Reference, answers: Mapping[str, tuple[int, ...]]) -> dict[str, Answer]:
        """See `StreamedReferences.forced`; raises NotRunError as `traces` does."""
        self._begin(reference)
        return self.references.forced(reference, answers)

    def steps(self, reference: Reference) -> Iterator[Step]:
        """Every case on its way through the graphs; raises NotRunError as `traces` does."""
        self._begin(reference)
        return self.references.steps(reference, judged_family(self.run.manifest.model_type).split().owner)

    def _begin(self, reference: Reference) -> None:
        if reference == "full":
            _ = self.run.source
        self.references.require_room()
        for note in self.left_out:
            self.run.note(note)

    def _prompt(self, case: Case) -> "Call":
        from nexus_edge.parity.vlm.streamed import Call

        ids, sizes, is_image = case.inputs["input_ids"], case.inputs.get("image_sizes"), self.is_image(case)
        rows = wanted_rows(is_image)
        if sizes is None:
            return Call(ids, is_image[None], rows)
        images = (self.original_pixels(case), np.asarray(sizes))
        return Call(ids, is_image[None], rows, images, self.given.vision_inputs(self.processor, *images))


def vlm_run(run: ParityRun) -> VlmRun:
    """What a run asks: the family's cases, as far as the model's size allows, unless `ask` named others."""
    if not isinstance(run.prepared, VlmRun):
        given, processor = _given(run), processing.from_checkpoint(run.bundle.root)
        config = read_json(run.bundle.root / "processor", "config.json")
        limit = given.limit(config)
        cases, left_out = given.make(processor, limit), list[str]()
        if parameter_count(run.bundle) >= LARGE:
            several = [case.name for case in cases if len(case.images) > 1]
            cases = [case for case in cases if case.name not in several]
            left_out = [f"{name}: left out, {LARGE / 1e9:g}e9 parameters and more" for name in several]
        run.prepared = VlmRun(run, given, processor, limit, cases, tuple(left_out))
    return run.prepared


def ask(run: ParityRun, cases: Sequence[Case]) -> VlmRun:
    """Have a run ask these cases from now on, and forget what came of those before."""
    before = vlm_run(run)
    run.prepared = VlmRun(run, before.given, before.processor, before.limit, cases, before.left_out)
    return run.prepared


def _given(run: ParityRun) -> VlmCases:
    family = judged_family(run.manifest.model_type)
    assert isinstance(family, VlmFamily), f"{family.model_type} is of kind {family.kind}"
    return family.parity()


def _open(run: ParityRun, reference: Reference) -> "Streamed":
    from nexus_edge.parity.vlm.streamed import open_streamed

    return open_streamed(run, reference)
