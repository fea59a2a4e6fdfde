"""Embeddings, of a tower or from a file, are finite and of length 1."""

import numpy as np
from numpy.typing import NDArray

from nexus_edge.errors import InputError

# float16 keeps 11 bits, so each number is off by 2^-12 of itself at most, and the length of a row by no more; rows are
# normalised in float32, or float16 by a tower that computes in it. Ten times that.
TOLERANCE = 10 * 2.0**-12
ROWS = 65_536  # that are looked at at once


def bad_rows(rows: NDArray[np.float16] | NDArray[np.float32]) -> int:
    """How many of `rows` [n, dim] are not finite or not of length 1."""
    bad = 0
    for start in range(0, len(rows), ROWS):
        piece = rows[start : start + ROWS].astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # whatever a file holds
            lengths = np.sqrt(np.einsum("nd,nd->n", piece, piece))
        bad += int(np.count_nonzero(~(np.abs(lengths - 1) <= TOLERANCE)))  # this form also catches NaN
    return bad


def check_unit_rows(rows: NDArray[np.float16] | NDArray[np.float32], what: str) -> None:
    """Raise InputError, naming the number of bad rows, if one of `rows` [n, dim] is not finite or not of length 1."""
    bad = bad_rows(rows)
    if bad:
        raise InputError(f"{bad} of {len(rows)} {what} embeddings are not finite or not of length 1; make it again")


def require_rows(rows: object, count: int, types: tuple[str, ...], what: str) -> None:
    """What a file of embeddings holds, before it is written: a file that `load` refuses would replace a good one.

    Raises:
        InputError: not an array of one of these types, not `count` rows, or one is not of length 1
    """
    if not isinstance(rows, np.ndarray) or rows.dtype.str not in {np.dtype(name).str for name in types}:
        found = getattr(rows, "dtype", type(rows).__name__)
        raise InputError(f"{what} embeddings must be {' or '.join(types)}, not {found}")
    if rows.ndim != 2 or len(rows) != count:
        raise InputError(f"{what} embeddings are {list(rows.shape)}; {count} rows are needed, one each")
    check_unit_rows(rows, what)
