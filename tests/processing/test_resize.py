"""Our bicubic resize against torch's, which the original processor calls; that of images against its definition."""

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, __version__
from resize_by_definition import VECTORS, resized

from nexus_edge.processing.resize import resize_bicubic, resize_image, resize_tall_first


def torch_bicubic(plane: np.ndarray, size: int) -> np.ndarray:
    batch = torch.from_numpy(plane)[None, None]
    resized = torch.nn.functional.interpolate(batch, size=(size, size), mode="bicubic", align_corners=False)
    return resized[0, 0].numpy()


@pytest.mark.parametrize("shape", [(336, 336), (336, 1344), (672, 672), (1008, 1680), (1344, 1344), (336, 5376)])
def test_padded_images_match_torch(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    # On x86 the bits are equal. Other builds of torch round their multiply-adds elsewhere: two units in the last
    # place of values up to 4, in each of two passes.
    np.testing.assert_allclose(resize_bicubic(plane, 336), torch_bicubic(plane, 336), rtol=0, atol=2e-6)


@pytest.mark.parametrize("shape", [(7, 11), (1, 1), (100, 3)])
def test_any_size_matches_torch(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    # torch has the positions in float32: off by 1e-6 of a pixel near 30, times slopes of a few units per pixel.
    np.testing.assert_allclose(resize_bicubic(plane, 30), torch_bicubic(plane, 30), rtol=0, atol=2e-5)


def test_a_flat_plane_stays_flat() -> None:
    plane = np.full((672, 1008), 1.25, np.float32)
    assert np.all(resize_bicubic(plane, 336) == 1.25)  # the four weights are dyadic and add up to 1


def recorded() -> list[dict[str, Any]]:
    return json.loads(VECTORS.read_text(encoding="utf-8"))


def pixels(case: dict[str, Any], prefix: str = "") -> np.ndarray:
    shape = (case[f"{prefix}height"], case[f"{prefix}width"], 3)
    return np.frombuffer(base64.b64decode(case[f"{prefix}rgb"]), np.uint8).reshape(shape)


RESAMPLE = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@pytest.mark.parametrize("case", recorded(), ids=lambda case: "{filter}-{width}x{height}".format(**case))
def test_images_are_the_recorded_ones_to_the_bit(case: dict[str, Any]) -> None:
    image = Image.fromarray(pixels(case))
    made = resize_image(image, case["new_width"], case["new_height"], RESAMPLE[case["filter"]])
    assert np.array_equal(np.asarray(made), pixels(case, "new_"))


def test_the_order_of_rows_and_columns_shows_in_the_recorded_images() -> None:
    def other_way(case: dict[str, Any]) -> np.ndarray:
        turned = resized(pixels(case).swapaxes(0, 1), case["new_height"], case["new_width"], case["filter"])
        return turned.swapaxes(0, 1)

    assert sum(not np.array_equal(other_way(case), pixels(case, "new_")) for case in recorded()) >= 10


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 40)] * 4), st.sampled_from(sorted(RESAMPLE)), st.sampled_from([1, 3]), st.integers(0, 99)
)
def test_images_of_any_size_are_the_definitions(
    sizes: tuple[int, int, int, int], name: str, channels: int, seed: int
) -> None:
    width, height, new_width, new_height = sizes
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    image = Image.fromarray(values[:, :, 0] if channels == 1 else values)
    made = np.asarray(resize_image(image, new_width, new_height, RESAMPLE[name])).reshape(
        new_height, new_width, channels
    )
    assert np.array_equal(made, resized(values, new_width, new_height, name))


def test_what_is_transparent_lends_no_colour() -> None:
    values = np.zeros((2, 2, 4), np.uint8)
    values[:, 0] = (200, 100, 50, 255)
    values[:, 1] = (0, 255, 0, 0)
    made = np.asarray(resize_image(Image.fromarray(values), 1, 1, Image.Resampling.BILINEAR))
    assert np.abs(made[0, 0].astype(int) - (200, 100, 50, 128)).max() <= 1  # by 8-bit opacity and back


def test_palettes_and_1_bit_images_keep_their_values() -> None:
    for mode in ("P", "1"):
        image = Image.fromarray(np.array([[0, 255, 0], [255, 0, 255]], np.uint8)).convert(mode)
        made = np.asarray(resize_image(image, 7, 5, Image.Resampling.BICUBIC))
        assert set(np.unique(made).tolist()) == set(np.unique(np.asarray(image)).tolist())


@pytest.mark.parametrize(
    ("size", "new", "columns_first"),
    [
        ((40, 90), (50, 60), True),  # the height alone shrinks
        ((60, 90), (50, 60), True),  # by more than twice what the width does
        ((60, 90), (45, 60), False),  # by just twice
        ((40, 90), (20, 100), False),
        ((40, 60), (90, 95), False),
    ],
)
def test_columns_come_first_where_the_height_shrinks_most(
    size: tuple[int, int], new: tuple[int, int], columns_first: bool
) -> None:
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    between = (size[0], new[1]) if columns_first else (new[0], size[1])
    expected = image.resize(between, RESAMPLE["bicubic"]).resize(new, RESAMPLE["bicubic"])
    made = resize_tall_first(image, *new, RESAMPLE["bicubic"])
    assert np.array_equal(np.asarray(made), np.asarray(expected))
    if int(__version__.partition(".")[0]) >= 13:
        assert np.array_equal(np.asarray(made), np.asarray(image.resize(new, RESAMPLE["bicubic"])))
