"""Causal attention over a KV cache of fixed length, whose new rows are written at a position; Core ML's form of it."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from nexus_edge.ops.attention import merge_heads, split_heads


@torch.library.custom_op("nexus::state_attention", mutates_args=())
def state_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    position: Tensor,
    bias: Tensor,
    num_heads: int,
    num_kv_heads: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Write the new tokens into the cache, then attend to what `bias` leaves visible of it.

    Args:
        query: [1, tokens, num_heads * head_dim], rotated
        key, value: [1, tokens, num_kv_heads * head_dim]; the key is rotated
        key_cache, value_cache: [1, num_kv_heads, context, head_dim]
        position: int32 [1], where the first new token is written; position + tokens <= context
        bias: [1, 1, tokens, context], added to the scores

    Returns:
        context [1, tokens, num_heads * head_dim] and both caches with the new tokens in place
    """
    rows = position + torch.arange(query.shape[1], device=query.device)
    new_key = key_cache.index_copy(2, rows, split_heads(key, num_kv_heads))
    new_value = value_cache.index_copy(2, rows, split_heads(value, num_kv_heads))
    context = scaled_dot_product_attention(
        split_heads(query, num_heads), new_key, new_value, attn_mask=bias, enable_gqa=num_heads != num_kv_heads
    )
    return merge_heads(context).contiguous(), new_key, new_value


@state_attention.register_fake
def _(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    position: Tensor,
    bias: Tensor,
    num_heads: int,
    num_kv_heads: int,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key_cache), torch.empty_like(value_cache)
