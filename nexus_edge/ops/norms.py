"""RMS normalisation as one op (arXiv 1910.07467)."""

import torch
from torch import Tensor


@torch.library.custom_op("nexus::rms_norm", mutates_args=())
def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Scale each vector to unit root mean square, then by `weight`; the statistics are taken in float32.

    Args:
        x: [batch, tokens, hidden]
        weight: [hidden]
        eps: added to the mean square

    Returns:
        [batch, tokens, hidden], in the dtype of `x`
    """
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


@rms_norm.register_fake
def _(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return torch.empty_like(x)
