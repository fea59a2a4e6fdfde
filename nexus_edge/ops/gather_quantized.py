"""Rows of an embedding table of 4 or 8 bits in groups, as ONNX Runtime's `com.microsoft::GatherBlockQuantized`."""

import torch
from torch import Tensor

from nexus_edge.quant.tensor import dequantize_groups


@torch.library.custom_op("nexus::gather_quantized", mutates_args=())
def gather_quantized(
    ids: Tensor, qweight: Tensor, scales: Tensor, zero_points: Tensor | None, bits: int, group_size: int
) -> Tensor:
    """weight[ids] for a table [entries, groups * group_size] of `bits` bits.

    Args:
        ids: int64 [...], each in 0 .. entries-1
        qweight: uint8 [entries, groups, group_size * bits / 8]
        scales: float32 or float16 [entries, groups]
        zero_points: uint8 [entries, ceil(groups * bits / 8)], or None for 2^(bits-1)

    Returns:
        float32 [..., groups * group_size]
    """
    zeros = None if zero_points is None else zero_points[ids]
    return dequantize_groups(qweight[ids], scales[ids], zeros, bits, scales.shape[1] * group_size).contiguous()


@gather_quantized.register_fake
def _(ids: Tensor, qweight: Tensor, scales: Tensor, zero_points: Tensor | None, bits: int, group_size: int) -> Tensor:
    return scales.new_empty(*ids.shape, scales.shape[1] * group_size, dtype=torch.float32)
