"""LLaVA-NeXT: its prompts, and what transformers recorded of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nexus_edge.interfaces.parity import Turn, VlmCases
from nexus_edge.models.llava_next.processing import LlavaNextProcessor
from nexus_edge.parity.metrics import Array
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Judge
from nexus_edge.parity.vlm.cases import Case, sample_image
from nexus_edge.processing import Processor

QUESTION = "[INST] <image>\nWhat is shown in this image? [/INST]"
COMPARISON = "[INST] <image>\n<image>\nWhat differs between the two images? [/INST]"
TEXT = (
    "[INST] A lighthouse keeper counts the ships that pass at night: three before midnight and four after it. "
    "How many ships does he count? [/INST]"
)


def make_cases(processor: Processor, long_after: int | None) -> list[Case]:
    """One image, two images of other grids, and text. The words around are those of the published Mistral model: any
    model reads them as text. See `VlmCases.make`."""
    return [
        # Flat, so that padding above and below has no features; upright, so that padding is at the sides.
        _case("one image", processor, QUESTION, sample_image(448, 150)),
        _case("two images", processor, COMPARISON, sample_image(120, 300), sample_image(80, 80)),
        _case("text", processor, TEXT),
    ]


def _case(name: str, processor: Processor, prompt: str, *images: Image.Image) -> Case:
    return Case(name, prompt, images, processor(prompt, list(images)), processor.most_views)


def original_pixels(case: Case, processor: Processor) -> Array:
    """See `VlmCases`."""
    from nexus_edge.models.llava_next.original_views import views_of

    assert isinstance(processor, LlavaNextProcessor)
    anyres = processor.anyres
    return views_of(case.images, anyres.pinpoints, anyres.side, processor.mean, processor.std)


def vision_inputs(processor: Processor, pixel_values: Array, image_sizes: Array) -> Mapping[str, Array]:
    """See `VlmCases`: the views of all images one after the other, and where the features of each go."""
    assert isinstance(processor, LlavaNextProcessor)
    layouts = [processor.anyres.layout(height, width) for height, width in image_sizes.tolist()]
    views = [pixels[: layout.num_views] for pixels, layout in zip(pixel_values, layouts, strict=True)]
    newline, first, index = sum(map(len, views)) * processor.anyres.patches**2, 0, []
    for layout in layouts:
        index.append(layout.feature_index(first, newline))
        first += layout.num_views
    return {"pixel_values": np.concatenate(views), "feature_index": np.concatenate(index)}


def compare_original(folder: Path, judge: Judge) -> list[Check]:
    """See `ParityCases`."""
    from nexus_edge.models.llava_next.original import compare

    return compare(folder, judge)


def limit(config: Mapping[str, Any]) -> int | None:
    """See `VlmCases`: one list of factors."""
    return None


CASES = VlmCases(
    golden_set="llava_next_tiny",
    compare_original=compare_original,
    make=make_cases,
    original_pixels=original_pixels,
    vision_inputs=vision_inputs,
    limit=limit,
    turn=Turn(image="[INST] <image>", question="\n{} [/INST]", end="</s>"),
)
