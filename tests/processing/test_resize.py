"""Our bicubic resize against torch's, which the original processor calls."""

import numpy as np
import pytest
import torch

from nexus_edge.processing.resize import resize_bicubic


def torch_bicubic(plane: np.ndarray, size: int) -> np.ndarray:
    batch = torch.from_numpy(plane)[None, None]
    resized = torch.nn.functional.interpolate(batch, size=(size, size), mode="bicubic", align_corners=False)
    return resized[0, 0].numpy()


@pytest.mark.parametrize("shape", [(336, 336), (336, 1344), (672, 672), (1008, 1680), (1344, 1344), (336, 5376)])
def test_padded_pictures_match_torch(shape: tuple[int, int]) -> None:
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
