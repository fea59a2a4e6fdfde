"""Phi-3-Vision: its prompts, the switch to LongRoPE's long factors, and what its authors' code recorded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nexus_edge.interfaces.parity import Turn, VlmCases
from nexus_edge.models.phi3_v.params import Phi3VisionParams
from nexus_edge.models.phi3_v.processing import Phi3VProcessor
from nexus_edge.parity.metrics import Array
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Judge
from nexus_edge.parity.vlm.cases import Case, sample_image
from nexus_edge.processing import ModelInputs, Processor

QUESTION = "<|user|>\n<|image_1|>\nWhat is shown in this image?<|end|>\n<|assistant|>\n"
COMPARISON = "<|user|>\n<|image_1|>\n<|image_2|>\nWhat differs between the two images?<|end|>\n<|assistant|>\n"
TEXT = (
    "<|user|>\nA lighthouse keeper counts the ships that pass at night: three before midnight and four after it. "
    "How many ships does he count?<|end|>\n<|assistant|>\n"
)
# The grids of crops stay small: an image of 16 crops takes 2,509 tokens, and more crops test nothing new.
MOST_CROPS = 2
# Above this many tokens the call that switches to LongRoPE's long factors costs more than a report is worth.
LONGEST_CALL = 1100


def make_cases(processor: Processor, long_after: int | None) -> list[Case]:
    """One image, two images, text, and a text long enough for LongRoPE's long factors.

    Args:
        processor: the bundle's
        long_after: tokens after which the model takes the long factors; None, or too many of them: no such case
    """
    own = min(MOST_CROPS, processor.most_views)
    cases = [
        _case("one image", processor, own, QUESTION, sample_image(448, 224)),
        # Always a grid of crops, also for a model that was trained on single crops: its order must be right.
        _case("two images", processor, MOST_CROPS, COMPARISON, sample_image(150, 300), sample_image(80, 80)),
        _case("text", processor, own, TEXT),
    ]
    if long_after is not None and long_after < LONGEST_CALL:
        ids = cases[-1].inputs["input_ids"]
        repeated = np.tile(ids, (1, long_after // ids.shape[1] + 1))[:, : long_after + 8]
        inputs: ModelInputs = {"input_ids": repeated, "attention_mask": np.ones_like(repeated)}
        cases.append(Case("text beyond the LongRoPE limit", "", (), inputs))
    return cases


def _case(name: str, processor: Processor, num_crops: int, prompt: str, *images: Image.Image) -> Case:
    return Case(name, prompt, images, processor.with_most_views(num_crops)(prompt, list(images)), num_crops)


def original_pixels(case: Case, processor: Processor) -> Array:
    """See `VlmCases`."""
    from nexus_edge.models.phi3_v.original_crops import crops_of

    assert isinstance(processor, Phi3VProcessor)
    crops: Array = crops_of(case.images, case.num_crops, processor.mean, processor.std).numpy()
    return crops


def compare_original(folder: Path, judge: Judge) -> list[Check]:
    """See `ParityCases`."""
    from nexus_edge.models.phi3_v.original import compare

    return compare(folder, judge)


def vision_inputs(processor: Processor, pixel_values: Array, image_sizes: Array) -> Mapping[str, Array]:
    """See `VlmCases`."""
    return {"pixel_values": pixel_values, "image_sizes": image_sizes}


def limit(config: Mapping[str, Any]) -> int | None:
    """See `VlmCases`."""
    return Phi3VisionParams.from_json(config).rope.original_max_position_embeddings


CASES = VlmCases(
    golden_set="phi3_vision_tiny",
    compare_original=compare_original,
    make=make_cases,
    original_pixels=original_pixels,
    vision_inputs=vision_inputs,
    limit=limit,
    turn=Turn(image="<|user|>\n<|image_1|>", question="\n{}<|end|>\n<|assistant|>\n", end="<|end|>"),
)
