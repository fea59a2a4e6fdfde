"""NaN and infinity in weights are found wherever they stand, and nothing else is."""

import ml_dtypes
import numpy as np
import pytest

from nexus_edge.checkpoints import check_finite
from nexus_edge.errors import CheckpointError
from nexus_edge.storage.finite import CHUNK

DTYPES = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sign", [1, -1])
def test_one_bad_value_is_found_by_its_index(dtype: type, bad: float, sign: int) -> None:
    array = np.full((5, 7), sign, dtype)
    array[3, 4] = bad
    with pytest.raises(CheckpointError, match=r"'w' holds -?(nan|inf) at \[3, 4\]"):
        check_finite("w", array)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_every_finite_value_passes(dtype: type) -> None:
    limits = ml_dtypes.finfo(dtype)
    values = [0, -0.0, float(limits.max), float(limits.min), float(limits.tiny), -float(limits.smallest_subnormal)]
    check_finite("w", np.array(values, dtype))


def test_the_first_bad_value_beyond_one_chunk_is_named() -> None:
    array = np.zeros((CHUNK // 4, 3), np.float32)
    array[-2, 1] = array[-1, 0] = np.inf
    with pytest.raises(CheckpointError, match=rf"\[{CHUNK // 4 - 2}, 1\]"):
        check_finite("w", array)


def test_rows_count_from_their_place_in_the_tensor() -> None:
    with pytest.raises(CheckpointError, match=r"\[101, 0\]"):
        check_finite("w", np.array([[0], [np.nan]], np.float32), first_row=100)


def test_scalars_views_empty_arrays_and_integers() -> None:
    with pytest.raises(CheckpointError, match=r"at \[\]"):
        check_finite("w", np.array(np.nan, np.float32))
    check_finite("w", np.zeros((0, 3), np.float32))
    check_finite("w", np.full(4, -1, np.int32))  # its bits would be a NaN
    transposed = np.zeros((2, 3), np.float32).T
    transposed[2, 1] = np.inf
    with pytest.raises(CheckpointError, match=r"\[2, 1\]"):
        check_finite("w", transposed)
