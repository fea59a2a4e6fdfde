"""Rotary position embedding as one op, so that it survives `torch.export` whole (RoFormer, arXiv 2104.09864)."""

import torch
from torch import Tensor


@torch.library.custom_op("nexus::rotary", mutates_args=())
def rotary(x: Tensor, cos: Tensor, sin: Tensor, num_heads: int) -> Tensor:
    """Rotate every head of `x`; the first half of a head's channels pairs with the second half.

    Args:
        x: [batch, tokens, num_heads * head_dim]
        cos, sin: [batch, tokens, head_dim / 2], in the dtype of `x`
        num_heads: how many heads `x` holds

    Returns:
        [batch, tokens, num_heads * head_dim]
    """
    batch, tokens, width = x.shape
    first, second = x.view(batch, tokens, num_heads, 2, width // num_heads // 2).unbind(3)
    cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
    return torch.stack((first * cos - second * sin, second * cos + first * sin), dim=3).view(x.shape)


@rotary.register_fake
def _(x: Tensor, cos: Tensor, sin: Tensor, num_heads: int) -> Tensor:
    return torch.empty_like(x)
