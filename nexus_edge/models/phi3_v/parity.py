"""Phi-3-Vision: its prompts, the switch to LongRoPE's long list, and what its authors' code recorded."""

from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from nexus_edge.models.phi3_v.processing import Phi3VProcessor
from nexus_edge.parity.family import ParityFamily
from nexus_edge.parity.metrics import Array
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.sources import build_quantized, parameter_count
from nexus_edge.parity.stages import Judge
from nexus_edge.parity.vlm.cases import Case, picture
from nexus_edge.parity.vlm.lab import VlmLab
from nexus_edge.parity.vlm.replay import replay
from nexus_edge.processing import ModelInputs, Processor, from_checkpoint

QUESTION = "<|user|>\n<|image_1|>\nWhat is shown in this image?<|end|>\n<|assistant|>\n"
COMPARISON = "<|user|>\n<|image_1|>\n<|image_2|>\nWhat differs between the two images?<|end|>\n<|assistant|>\n"
TEXT = (
    "<|user|>\nA lighthouse keeper counts the ships that pass at night: three before midnight and four after it. "
    "How many ships does he count?<|end|>\n<|assistant|>\n"
)
# The grids of crops stay small: a picture of 16 crops takes 2,509 tokens, and more crops test nothing new.
MOST_CROPS = 2
# Above this many tokens the call that switches to LongRoPE's long list costs more than a report is worth.
LONGEST_CALL = 1100
# Parameters from which two pictures are left out: their 782 tokens cost more than all other cases together, and what
# they ask beyond the one picture, whose features go where, depends on no weight.
LARGE = 1_000_000_000


class Phi3VLab(VlmLab):
    """See `VlmLab`."""

    golden_set = "phi3_vision_tiny"

    def make_cases(self) -> list[Case]:
        cases = make_cases(self.processor, self.long_after)
        return [case for case in cases if len(case.pictures) < 2] if self._is_large else cases

    @property
    def left_out(self) -> tuple[str, ...]:
        return (f"two pictures: left out, {LARGE / 1e9:g}e9 parameters and more",) if self._is_large else ()

    @cached_property
    def _is_large(self) -> bool:
        return parameter_count(self.bundle) >= LARGE

    @property
    def long_after(self) -> int | None:
        from nexus_edge.models.phi3_v.model import Phi3V

        model = build_quantized(self.bundle)
        assert isinstance(model, Phi3V)
        return model.params.rope.original_max_position_embeddings

    def original_pixels(self, case: Case) -> Array:
        from nexus_edge.models.phi3_v.original_crops import crops_of

        # The checkpoint's own settings, where it is at hand: the bundle's may be what is wrong.
        folder = None if isinstance(self.checkpoint, str) else self.checkpoint.folder
        processor = self.processor if folder is None else from_checkpoint(folder)
        assert isinstance(processor, Phi3VProcessor)
        crops: Array = crops_of(case.pictures, case.num_crops, processor.mean, processor.std).numpy()
        return crops

    def processor_for(self, case: Case, processor: Processor) -> Processor:
        return processor.with_most_views(case.num_crops)

    def compare_original(self, folder: Path, judge: Judge) -> list[Check]:
        from nexus_edge.models.phi3_v.original import compare

        return compare(folder, judge)


def make_cases(processor: Processor, long_after: int | None) -> list[Case]:
    """One picture, two pictures, text, and a text long enough for LongRoPE's long list.

    Args:
        processor: the bundle's
        long_after: tokens after which the model takes the long list; None, or too many of them: no such case
    """
    own = min(MOST_CROPS, processor.most_views)
    cases = [
        _case("one picture", processor, own, QUESTION, picture(448, 224)),
        # Always a grid of crops, also for a model that was trained on single crops: its order must be right.
        _case("two pictures", processor, MOST_CROPS, COMPARISON, picture(150, 300), picture(80, 80)),
        _case("text", processor, own, TEXT),
    ]
    if long_after is not None and long_after < LONGEST_CALL:
        ids = cases[-1].inputs["input_ids"]
        repeated = np.tile(ids, (1, long_after // ids.shape[1] + 1))[:, : long_after + 8]
        inputs: ModelInputs = {"input_ids": repeated, "attention_mask": np.ones_like(repeated)}
        cases.append(Case("text beyond the LongRoPE limit", "", (), inputs))
    return cases


def _case(name: str, processor: Processor, num_crops: int, prompt: str, *pictures: Image.Image) -> Case:
    return Case(name, prompt, pictures, processor.with_most_views(num_crops)(prompt, list(pictures)), num_crops)


PARITY = ParityFamily(Phi3VLab, replay)
