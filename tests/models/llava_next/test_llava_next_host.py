"""What happens between LLaVA-NeXT's graphs: its image tokens, and each image without what fills up a batch."""

from pathlib import Path

import numpy as np
import pytest

from nexus_edge.bundle import TensorSpec
from nexus_edge.errors import BundleError
from nexus_edge.interfaces.graph import Interface
from nexus_edge.models.llava_next.host import LlavaNextHost, make_host
from nexus_edge.models.llava_next.processing import LlavaNextProcessor
from nexus_edge.processing.folder import read_json

TINY = Path(__file__).parents[2] / "golden" / "llava_next_tiny"
WIDE, STRIP = TINY / "images" / "wide_500x300.png", TINY / "images" / "strip_900x120.png"
ENCODER = Interface((TensorSpec("pixel_values", "float32", ("views", 3, 336, 336)),
                     TensorSpec("feature_index", "int64", ("image_tokens",))), ())  # fmt: skip


@pytest.fixture(scope="module")
def host() -> LlavaNextHost:
    return make_host(read_json(TINY, "config.json"), {"vision_encoder": ENCODER}, TINY)


@pytest.fixture(scope="module")
def processor() -> LlavaNextProcessor:
    return LlavaNextProcessor.from_folder(TINY)


def test_image_tokens_are_those_that_the_processor_repeats(host: LlavaNextHost, processor: LlavaNextProcessor) -> None:
    prompt = host.prompt(processor("a <image> b", [WIDE]))
    assert prompt.is_image.sum() == 1560, "recorded by transformers for 500 x 300 pixels: cases.json"
    assert (prompt.ids[prompt.is_image] == 0).all() and (prompt.ids >= 0).all()
    assert len(prompt.images) == 1


def test_an_image_is_the_same_whatever_stands_beside_it(host: LlavaNextHost, processor: LlavaNextProcessor) -> None:
    """Beside an image of more views its own are filled up; the cache must know it all the same."""
    (alone,) = host.prompt(processor("<image>", [WIDE])).images
    first, second = host.prompt(processor("<image> <image>", [WIDE, STRIP])).images
    assert (host.views(first), host.views(second)) == (3, 4)
    for name, array in alone.items():
        np.testing.assert_array_equal(first[name], array)


def test_graphs_of_another_family_are_refused() -> None:
    other = Interface((TensorSpec("pixel_values", "float32", ("views", 3, 336, 336)),), ())
    with pytest.raises(BundleError, match="take no images as LLaVA-NeXT does"):
        make_host(read_json(TINY, "config.json"), {"vision_encoder": other}, TINY)
