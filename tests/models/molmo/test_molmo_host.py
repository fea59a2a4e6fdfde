"""What happens between Molmo's graphs: its image tokens, and each image without what fills up a batch."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from nexus_edge.bundle import TensorSpec
from nexus_edge.errors import BundleError, InputError
from nexus_edge.interfaces.graph import Interface
from nexus_edge.models.molmo.host import MolmoHost, make_host
from nexus_edge.models.molmo.processing import MolmoProcessor
from nexus_edge.processing.folder import read_json

TINY = Path(__file__).parents[2] / "golden" / "molmo_tiny"
WIDE = TINY / "images/c_640x200.png"
ENCODER = Interface((TensorSpec("pixel_values", "float32", ("views", 3, 336, 336)),
                     TensorSpec("image_masks", "float32", ("views", 576)),
                     TensorSpec("feature_index", "int64", ("image_tokens",))), ())  # fmt: skip


@pytest.fixture(scope="module")
def host() -> MolmoHost:
    return make_host(read_json(TINY, "config.json"), {"vision_encoder": ENCODER}, TINY)


def test_a_feature_is_added_where_the_original_adds_it(host: MolmoHost) -> None:
    """Recorded: for each token of each view its position in the prompt, or a negative number."""
    recorded = safetensors.numpy.load_file(TINY / "inputs.safetensors")
    positions = recorded["wide.image_input_idx"].ravel()
    prompt = host.prompt(MolmoProcessor.from_folder(TINY).with_most_views(4)(" User: a Assistant:", WIDE))
    (image,) = prompt.images
    assert np.flatnonzero(prompt.is_image).tolist() == positions[image["feature_index"]].tolist()
    assert np.array_equal(image["image_masks"], recorded["wide.image_masks"])
    assert (host.views(image), host.merge) == (4, "add")
    assert (prompt.ids[prompt.is_image] == 514).all(), "its own embedding stays"


def test_views_that_fill_up_a_batch_are_left_out(host: MolmoHost) -> None:
    inputs = MolmoProcessor.from_folder(TINY).with_most_views(4)(" User: a Assistant:", WIDE)
    (expected,) = host.images(inputs)
    filled = np.concatenate([inputs["pixel_values"], np.full((1, 2, 3, 336, 336), -1, np.float32)], axis=1)
    (found,) = host.images({"pixel_values": filled, "image_sizes": inputs["image_sizes"]})
    assert all(np.array_equal(found[name], array) for name, array in expected.items())


def test_a_prompt_without_an_image(host: MolmoHost) -> None:
    prompt = host.prompt(MolmoProcessor.from_folder(TINY)(" User: a Assistant:"))
    assert prompt.images == () and not prompt.is_image.any()


def test_views_that_do_not_belong_to_the_size_are_refused(host: MolmoHost) -> None:
    with pytest.raises(InputError, match="an image of 200 x 640 pixels is never cut into 6 views"):
        host.images({"pixel_values": np.zeros((1, 6, 3, 336, 336), np.float32), "image_sizes": np.array([[200, 640]])})


def test_graphs_of_another_family_are_refused() -> None:
    other = Interface((TensorSpec("pixel_values", "float32", ("views", 3, 336, 336)),), ())
    with pytest.raises(BundleError, match="take no images as Molmo does"):
        make_host(read_json(TINY, "config.json"), {"vision_encoder": other}, TINY)
