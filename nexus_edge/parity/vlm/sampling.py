"""Which entries of a long tensor a golden keeps; recording and replay must agree."""

import numpy as np

from nexus_edge.parity.metrics import Array

PIXEL_STRIDE = 997  # a prime, so that it hits every column of a crop in turn
FEATURE_ROWS = 16
CACHE_TOKENS = 4


def sample(name: str, array: Array) -> Array:
    """The entries of `array` that are kept for the value `name`.

    pixel_values: every 997th number. image_features [tokens, hidden] and inputs_embeds [1, tokens, hidden]: rows spread
    evenly. present.* [1, heads, tokens, head_dim]: the last tokens, which have seen all others. Anything else: all.
    """
    if name == "pixel_values":
        return array.reshape(-1)[::PIXEL_STRIDE]
    if name in ("image_features", "inputs_embeds"):
        rows = array.reshape(-1, array.shape[-1])
        return rows[np.linspace(0, len(rows) - 1, min(FEATURE_ROWS, len(rows))).astype(np.int64)]
    return array[:, :, -CACHE_TOKENS:] if name.startswith("present.") else array
