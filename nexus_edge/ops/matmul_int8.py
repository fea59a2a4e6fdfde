"""Product of int8 activations (one scale per token) with int8 weights (one scale per output channel)."""

import torch
from torch import Tensor
from torch.nn.functional import linear


@torch.library.custom_op("nexus::matmul_int8", mutates_args=())
def matmul_int8(x: Tensor, qweight: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias for an int8 weight [out, in].

    The largest magnitude of each token of `x` becomes 127 steps on either side of zero (LLM.int8, arXiv 2208.07339,
    section 2.1), so that an outlier costs precision in its own token only, and a token's result does not depend on its
    neighbours. (`DynamicQuantizeMatMul` alone takes one range for all tokens.)

    Args:
        x: float32 [..., in]
        qweight: int8 [out, in]
        scales: float32 or float16 [out]
        bias: float32 [out] or None

    Returns:
        float32 [..., out]
    """
    step = x.abs().amax(-1, keepdim=True) * (1 / 127)
    codes = torch.round(torch.where(step > 0, x / step, 0))
    y = linear(codes, qweight.float()) * scales.float() * step
    return y if bias is None else y + bias


@matmul_int8.register_fake
def _(x: Tensor, qweight: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], qweight.shape[0])
