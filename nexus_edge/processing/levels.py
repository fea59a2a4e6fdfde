"""Samples of more than 8 bits to the 256 grey levels that a model reads."""

import numpy as np
from numpy.typing import NDArray

from nexus_edge.errors import ImageError

# Whole numbers end at 255, 65,535 or 2**32 - 1, floats at 1 or 255: what writers use where no field says it.
WHOLE_WHITES = (255, 65_535, 2**32 - 1)
FLOAT_WHITES = (1.0, 255.0)

# An image that is not said to be dark and does not reach a quarter of its range is one of another range: 12 bits in a
# container of 16 reach a sixteenth. Assumed to be white where it is not, that range would show it black.
LEAST_SHARE = 1 / 4


def high_byte(values: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """The upper 8 of `bits` bits, which is what Pillow keeps of 16-bit colours; fewer bits are scaled to 255."""
    if bits >= 8:
        return (values >> (bits - 8)).astype(np.uint8)
    return scaled(values, 0, 2**bits - 1)


def scaled(values: NDArray[np.generic], black: float, white: float) -> NDArray[np.uint8]:
    """`black` becomes 0 and `white` 255, linearly; what lies outside is cut."""
    shares = (values.astype(np.float64) - black) / (white - black)
    return np.rint(shares.clip(0, 1) * 255).astype(np.uint8)


def guessed(values: NDArray[np.generic], whites: tuple[float, ...], name: str) -> NDArray[np.uint8]:
    """Levels of samples whose range no field says: up to the first of `whites` that holds them; raises ImageError.

    Negative samples, NaN, and samples that all lie far below that white are refused.
    """
    low, high = float(values.min()), float(values.max())
    white = next((white for white in whites if high <= white), None)
    if not low >= 0 or white is None:  # this form also catches NaN
        raise ImageError(f"{name}: values {low:g} to {high:g} have no known range; save it with 8 bits")
    check_reach(high, white, name)
    if values.dtype.kind in "iu":
        return high_byte(values.astype(np.uint32), int(white).bit_length())
    return scaled(values, 0, white)


def check_reach(high: float, white: float, name: str) -> None:
    """Raises ImageError if the brightest sample is so far below white that white must be another value."""
    if 0 < high < white * LEAST_SHARE:
        raise ImageError(
            f"{name}: its values end at {high:g} of {white:g}, nearly black, and it does not say that white is "
            "elsewhere; save it with 8 bits, or stretched over the whole range"
        )
