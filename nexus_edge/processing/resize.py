"""The two resizes of the original processors: Pillow's of 8-bit images, and torch's of normalised pixels."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Colours count in proportion to their opacity: Pillow multiplies by it before a resize and divides after.
PREMULTIPLIED = {"RGBA": "RGBa", "LA": "La"}


def resize_image(image: Image.Image, width: int, height: int, resample: Image.Resampling) -> Image.Image:
    """`image` at `width` x `height` pixels, with antialiasing: each row first, then each column of the result.

    Both passes round to 8 bits, so their order shows. Pillow before 13 takes rows first, and so do the recordings of
    the originals; Pillow 13 takes whichever costs less. Two resizes of one axis each are the same on every Pillow.
    `runtimes/vectors` has examples. Palettes and 1-bit images take the nearest pixel, as in Pillow.
    """
    mode = image.mode
    if image.size == (width, height):
        return image
    if mode in PREMULTIPLIED:
        image = image.convert(PREMULTIPLIED[mode])
    image = image.resize((width, image.height), resample).resize((width, height), resample)
    return image.convert(mode) if mode in PREMULTIPLIED else image


def resize_tall_first(image: Image.Image, width: int, height: int, resample: Image.Resampling) -> Image.Image:
    """An RGB image as Pillow 13 resizes it, on every Pillow: columns come first where the height shrinks most.

    That is by more than twice as many pixels as the width does; elsewhere rows come first, as in `resize_image`. For
    models whose recordings were made with Pillow 13. Source: the rule fits 1,662 random resizes, without exception.
    """
    if height < image.height and 2 * (image.width - width) < image.height - height:
        image = image.resize((image.width, height), resample)
    return resize_image(image, width, height, resample)


# Keys' cubic convolution (1981) leaves one coefficient free; torch uses -0.75 where Pillow uses -0.5.
CUBIC_A = -0.75


def resize_bicubic(plane: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """`plane` [height, width] as [size, size], to the last bit as torch's interpolate gives it on x86.

    Its mode is bicubic, its align_corners False.

    There is no antialiasing: each output value is made of its 4 x 4 nearest input values, the edge ones repeated.
    """
    rows, row_weights = _taps(plane.shape[0], size)
    columns, column_weights = _taps(plane.shape[1], size)
    narrow = _weighted_sum([plane[:, tap] for tap in columns], column_weights)
    return _weighted_sum([narrow[tap] for tap in rows], row_weights[:, :, None])


def _taps(size_in: int, size_out: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each output position the four input positions and their weights, both [4, size_out]."""
    centre = (np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5
    base = np.floor(centre)
    fraction = centre - base
    weights = np.stack([_outer(fraction + 1), _inner(fraction), _inner(1 - fraction), _outer(2 - fraction)])
    positions = base.astype(np.int64) + np.arange(-1, 3)[:, None]
    return positions.clip(0, size_in - 1), weights


def _inner(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel for distances 0 to 1."""
    return ((CUBIC_A + 2) * x - (CUBIC_A + 3)) * x * x + 1


def _outer(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel for distances 1 to 2."""
    return ((CUBIC_A * x - 5 * CUBIC_A) * x + 8 * CUBIC_A) * x - 4 * CUBIC_A


def _weighted_sum(taps: list[NDArray[np.float32]], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """The sum of four taps times their weights, rounded where torch's kernel rounds.

    That kernel starts from the second product and adds the others by fused multiply-add: one rounding to float32 per
    tap. A product of two float32 is exact in float64, which makes a fused multiply-add out of numpy's two operations.
    """
    total: NDArray[np.float32] = (taps[1] * weights[1]).astype(np.float32)
    for tap in (0, 2, 3):
        fused = taps[tap] * weights[tap]
        fused += total
        total = fused.astype(np.float32)
    return total
