"""The resize of Molmo's image processor: TensorFlow's bilinear one with antialiasing, on fractions of float32.

Source: `tf.image.resize` and its kernel ScaleAndTranslate (TensorFlow 2.x, scale_and_translate_op.cc). The kernel's
positions are float32 as well, and a position of some hundred pixels has an error of 3e-5 of a pixel. Weights computed
in float64 are off by that; the same steps in float32 give the original's numbers to 1e-6.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_HALF, _ONE = np.float32(0.5), np.float32(1)


def resize_triangle(image: Floats, height: int, width: int) -> Floats:
    """[rows, columns, channels] -> [height, width, channels]: columns of pixels first, then rows, never beyond 0..1."""
    tall = _along_first(image, height)
    return _along_first(tall.swapaxes(0, 1), width).swapaxes(0, 1).clip(0, 1)


def _along_first(image: Floats, size: int) -> Floats:
    """Resized along the first axis."""
    index, weights = _taps(image.shape[0], size)
    result = np.zeros((size, *image.shape[1:]), dtype=np.float32)
    for tap in range(index.shape[1]):
        result += image[index[:, tap]] * weights[:, tap, None, None]
    return result


def _taps(size_in: int, size_out: int) -> tuple[NDArray[np.int64], Floats]:
    """For each output the inputs that it is made of, and their weights: both [size_out, taps].

    The kernel is a triangle over two pixels of the smaller one of input and output.
    """
    step = _ONE / (np.float32(size_out) / np.float32(size_in))
    reach = max(step, _ONE)
    centre = (np.arange(size_out, dtype=np.float32) + _HALF) * step
    first = np.ceil(centre - reach - _HALF).clip(0, size_in - 1).astype(np.int64)
    last = np.floor(centre + reach - _HALF).clip(0, size_in - 1).astype(np.int64)
    index = first[:, None] + np.arange(int((last - first).max()) + 1)
    distance = np.abs((index.astype(np.float32) + _HALF - centre[:, None]) * (_ONE / reach))
    weights = np.where(index <= last[:, None], np.maximum(_ONE - distance, 0), np.float32(0))
    weights *= (_ONE / weights.sum(axis=1, dtype=np.float32))[:, None]
    return index.clip(0, size_in - 1), weights
