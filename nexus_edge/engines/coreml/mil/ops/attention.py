"""Fused attention."""

import numpy as np

from nexus_edge.engines.coreml.mil.ops.activations import softmax
from nexus_edge.engines.coreml.mil.registry import Array, operator


@operator("scaled_dot_product_attention")
def scaled_dot_product_attention(query: Array, key: Array, value: Array, attn_mask: Array | None = None) -> Array:
    """query [batch, *heads, tokens, width], key and value [batch, *heads, total, width] -> as query, width of value.

    A float mask is added to the scores; where a truth mask is false, nothing is seen. Scores and probabilities stay in
    float32: the operation is fused, and what it holds inside is not specified.
    """
    if query.shape[:-2] != key.shape[:-2] or key.shape[:-1] != value.shape[:-1]:
        raise ValueError(f"query {list(query.shape)}, key {list(key.shape)} and value {list(value.shape)}")
    scores = np.matmul(query, key.swapaxes(-1, -2)) / np.float32(np.sqrt(query.shape[-1]))
    if attn_mask is not None:
        scores = scores + attn_mask if attn_mask.dtype.kind == "f" else np.where(attn_mask, scores, -np.inf)
    return np.matmul(softmax(scores), value)
