"""Product with a weight of 4 or 8 bits in groups, with the numerics of ONNX Runtime's `com.microsoft::MatMulNBits`."""

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from nexus_edge.quant.tensor import dequantize_groups

# Weights that are dequantized at a time: the float32 copy of a whole lm_head would take 394 MB.
_WEIGHTS_AT_ONCE = 1 << 23


@torch.library.custom_op("nexus::matmul_nbits", mutates_args=())
def matmul_nbits(
    x: Tensor,
    qweight: Tensor,
    scales: Tensor,
    zero_points: Tensor | None,
    bias: Tensor | None,
    bits: int,
    group_size: int,
    activation_bits: int,
) -> Tensor:
    """x @ weight.T + bias for a weight [out, in] of `bits` bits.

    Args:
        x: float32 [..., in]
        qweight: uint8 [out, groups, group_size * bits / 8], groups = ceil(in / group_size)
        scales: float32 or float16 [out, groups]
        zero_points: uint8 [out, ceil(groups * bits / 8)], or None for 2^(bits-1)
        bias: float32 [out] or None
        activation_bits: 8: `x` is rounded to int8 with one scale per token and group before the product, as the kernel
            does at accuracy_level 4; 32: `x` is used as it is (accuracy_level 1)

    Returns:
        float32 [..., out]
    """
    out, groups, _ = qweight.shape
    if activation_bits == 8:
        x = round_to_int8(x, groups, group_size)
    rows = max(1, _WEIGHTS_AT_ONCE // (groups * group_size))
    y = x.new_empty(*x.shape[:-1], out)
    for start in range(0, out, rows):
        part = slice(start, start + rows)
        zeros = None if zero_points is None else zero_points[part]
        weight = dequantize_groups(qweight[part], scales[part], zeros, bits, x.shape[-1])
        y[..., part] = linear(x, weight, None if bias is None else bias[part])
    return y


def round_to_int8(x: Tensor, groups: int, group_size: int) -> Tensor:
    """Round each group of [..., in] to 127 steps on either side of zero, ties to even; a group of zeros stays zero."""
    columns = x.shape[-1]
    grouped: Tensor = pad(x, (0, groups * group_size - columns)).unflatten(-1, (groups, group_size))
    peak = grouped.abs().amax(-1, keepdim=True)
    codes = torch.round(grouped * torch.where(peak > 0, 127 / peak, 0))
    return (codes * (peak / 127)).flatten(-2)[..., :columns]


@matmul_nbits.register_fake
def _(
    x: Tensor,
    qweight: Tensor,
    scales: Tensor,
    zero_points: Tensor | None,
    bias: Tensor | None,
    bits: int,
    group_size: int,
    activation_bits: int,
) -> Tensor:
    return x.new_empty(*x.shape[:-1], qweight.shape[0])
