"""Finds NaN and infinity in weights at memory speed, while they stream past."""

import numpy as np

from nexus_edge.checkpoints.base import Array
from nexus_edge.errors import CheckpointError
from nexus_edge.storage.dtypes import FLOATS

# Bits of +infinity, by element type. IEEE 754: an all-ones exponent is infinity or NaN, and below the sign bit the bit
# patterns are ordered like the magnitudes.
INFINITY_BITS = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000, "float64": 0x7FF0000000000000}
CHUNK = 1 << 20  # bytes; stays in the L2 cache between the two passes


def check_finite(key: str, array: Array, first_row: int = 0) -> None:
    """Raise if a floating-point `array` holds a NaN or an infinity; other types pass.

    Two maxima decide, without a temporary: read as signed integers, the largest positive float; read as unsigned, the
    largest magnitude among the negative ones.

    Args:
        key: the tensor's name, for the message.
        array: the tensor, or rows of it starting at `first_row`.

    Raises:
        CheckpointError: naming the tensor and the first bad index.
    """
    name = array.dtype.name
    if name not in FLOATS:
        return
    width = array.dtype.itemsize
    flat = np.ascontiguousarray(array).reshape(-1)
    signed, unsigned = flat.view(f"i{width}"), flat.view(f"u{width}")
    positive, negative = INFINITY_BITS[name], INFINITY_BITS[name] | 1 << (8 * width - 1)
    step = CHUNK // width
    for begin in range(0, flat.size, step):
        part = slice(begin, begin + step)
        if signed[part].max() >= positive or unsigned[part].max() >= negative:
            bad = int(np.argmax(~np.isfinite(flat[part].astype(np.float64)))) + begin
            index = [int(i) for i in np.unravel_index(bad, array.shape)]
            if index:
                index[0] += first_row
            raise CheckpointError(f"tensor {key!r} holds {float(flat[bad])} at {index}; the checkpoint is damaged")
