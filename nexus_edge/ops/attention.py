"""Attention as single ops: a runtime's fused kernel can only replace what is still in one piece."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[batch, tokens, num_heads * head_dim] -> [batch, num_heads, tokens, head_dim]"""
    batch, tokens, width = x.shape
    return x.view(batch, tokens, num_heads, width // num_heads).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """[batch, num_heads, tokens, head_dim] -> [batch, tokens, num_heads * head_dim]"""
    return x.transpose(1, 2).flatten(2)


@torch.library.custom_op("nexus::attention", mutates_args=())
def attention(query: Tensor, key: Tensor, value: Tensor, num_heads: int, visible: Tensor | None = None) -> Tensor:
    """Every query attends to every visible token (an encoder's attention).

    Args:
        query: [batch, queries, num_heads * head_dim]
        key, value: [batch, tokens, num_heads * head_dim]
        visible: bool [batch, tokens], False where a token is padding that none may attend to; None: no padding.
            At least one token of a sequence is visible

    Returns:
        [batch, queries, num_heads * head_dim]
    """
    query, key, value = (split_heads(x, num_heads) for x in (query, key, value))
    mask = None if visible is None else visible[:, None, None, :]
    return merge_heads(scaled_dot_product_attention(query, key, value, attn_mask=mask)).contiguous()


@attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, num_heads: int, visible: Tensor | None = None) -> Tensor:
    return query.new_empty(query.shape)


@torch.library.custom_op("nexus::cached_attention", mutates_args=())
def cached_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past_key: Tensor,
    past_value: Tensor,
    attention_mask: Tensor,
    num_heads: int,
    num_kv_heads: int,
    window: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Causal attention of new tokens over a KV cache and themselves.

    Args:
        query: [batch, tokens, num_heads * head_dim], rotated
        key, value: [batch, tokens, num_kv_heads * head_dim]; the key is rotated
        past_key, past_value: [batch, num_kv_heads, past, head_dim]
        attention_mask: int64 [batch, past + tokens], 0 where a token is padding
        window: a token sees at most this many tokens before itself; negative: all of them

    Returns:
        context [batch, tokens, num_heads * head_dim] and the grown cache, key and value
        [batch, num_kv_heads, past + tokens, head_dim]
    """
    tokens, past = query.shape[1], past_key.shape[2]
    present_key = torch.cat((past_key, split_heads(key, num_kv_heads)), dim=2)
    present_value = torch.cat((past_value, split_heads(value, num_kv_heads)), dim=2)

    row = torch.arange(past, past + tokens, device=query.device).unsqueeze(1)
    column = torch.arange(past + tokens, device=query.device)
    visible = column <= row
    if window >= 0:
        visible &= row - column <= window
    visible = visible & attention_mask.bool()[:, None, None, :]
    # The lowest finite number and not -inf: a row of padding then sees everything equally and holds no NaN.
    bias = torch.zeros(visible.shape, dtype=query.dtype).masked_fill_(~visible, torch.finfo(query.dtype).min)
    context = scaled_dot_product_attention(
        split_heads(query, num_heads), present_key, present_value, attn_mask=bias, enable_gqa=num_heads != num_kv_heads
    )
    return merge_heads(context).contiguous(), present_key, present_value


@cached_attention.register_fake
def _(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past_key: Tensor,
    past_value: Tensor,
    attention_mask: Tensor,
    num_heads: int,
    num_kv_heads: int,
    window: int,
) -> tuple[Tensor, Tensor, Tensor]:
    batch, kv_heads, _, head_dim = past_key.shape
    present = (batch, kv_heads, attention_mask.shape[1], head_dim)
    return torch.empty_like(query), past_key.new_empty(present), past_value.new_empty(present)
