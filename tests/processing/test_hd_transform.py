"""The grid of crops: the published token counts, and what must hold for every size of image."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from nexus_edge.errors import ImageError
from nexus_edge.processing.hd_transform import CROP, WHITE, hd_geometry, hd_transform

SIDES = st.integers(1, 20_000)
CROPS = st.integers(1, 40)


@pytest.mark.parametrize(
    ("width", "height", "num_crops", "grid", "tokens"),
    [
        (336, 336, 16, (4, 4), 2509),
        (1, 1, 16, (4, 4), 2509),
        (640, 480, 16, (3, 4), 1921),
        (480, 640, 16, (4, 3), 1933),
        (1920, 1080, 16, (3, 5), 2353),
        (1080, 1920, 16, (5, 3), 2377),
        (8000, 50, 16, (1, 16), 2473),
        (50, 8000, 16, (16, 1), 2653),
        (100, 37, 4, (1, 2), 457),
        (50, 8000, 4, (4, 1), 781),
        (1344, 336, 1, (1, 1), 313),
    ],
)
def test_known_token_counts(width: int, height: int, num_crops: int, grid: tuple[int, int], tokens: int) -> None:
    geometry = hd_geometry(width, height, num_crops)
    assert geometry.grid == grid
    assert geometry.num_tokens == tokens


@settings(deadline=None)
@given(SIDES, SIDES, CROPS)
def test_tokens_are_the_rows_that_the_assembly_makes(width: int, height: int, num_crops: int) -> None:
    """Crops laid out as a plane of 12 x 12 features each, one separator per row of it, and one between the views."""
    assume(max(width, height) / min(width, height) <= 336)
    geometry = hd_geometry(width, height, num_crops)
    rows, columns = geometry.grid
    crops_plane = np.zeros((rows * 12, columns * 12 + 1))
    global_plane = np.zeros((12, 12 + 1))
    assert geometry.num_tokens == crops_plane.size + 1 + global_plane.size
    assert geometry.num_tokens == (rows * columns + 1) * 144 + 1 + (rows + 1) * 12  # the original's formula


@settings(deadline=None)
@given(SIDES, SIDES, CROPS)
def test_grid_is_the_largest_allowed_and_holds_the_image(width: int, height: int, num_crops: int) -> None:
    assume(max(width, height) / min(width, height) <= 336)
    geometry = hd_geometry(width, height, num_crops)
    assert 1 <= geometry.long_crops * geometry.short_crops <= num_crops
    ratio = max(width, height) / min(width, height)
    wider = geometry.long_crops + 1
    assert wider * math.ceil(wider / ratio) > num_crops
    assert geometry.height <= geometry.short_crops * CROP < geometry.height + CROP
    assert geometry.image_size == (geometry.grid[0] * CROP, geometry.grid[1] * CROP)


@settings(deadline=None)
@given(SIDES, SIDES, CROPS)
def test_a_portrait_is_a_landscape_on_its_side(width: int, height: int, num_crops: int) -> None:
    assume(max(width, height) / min(width, height) <= 336)
    assert hd_geometry(width, height, num_crops).grid == hd_geometry(height, width, num_crops).grid[::-1]


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 5))
def test_padding_is_white_and_the_rest_is_the_image(width: int, height: int, num_crops: int) -> None:
    geometry = hd_geometry(width, height, num_crops)
    padded = hd_transform(Image.new("RGB", (width, height), (1, 2, 3)), geometry)
    assert padded.shape == (*geometry.image_size, 3)
    inside = np.all(padded == (1, 2, 3), axis=2)
    assert np.all(inside | np.all(padded == WHITE, axis=2))
    lines = inside.all(axis=0 if geometry.transposed else 1)
    assert inside.sum() == lines.sum() * geometry.width  # whole lines, none partly white
    first, last = np.flatnonzero(lines)[[0, -1]]
    before, after = first, len(lines) - 1 - last
    assert last - first + 1 == geometry.height
    assert after - before in (0, 1)  # centred; an odd line goes below


@pytest.mark.parametrize(("width", "height"), [(400, 1), (1, 400), (20_000, 59)])
def test_an_image_too_narrow_for_its_crops_is_refused(width: int, height: int) -> None:
    with pytest.raises(ImageError, match=rf"line\.png: {width}x{height} is too narrow.*crop or pad"):
        hd_geometry(width, height, 1, "line.png")
