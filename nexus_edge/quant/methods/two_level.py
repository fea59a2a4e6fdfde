"""4-bit weights that become int8 weights by whole numbers alone (QServe, arXiv 2405.04532, section 4.1)."""

import torch
from torch import Tensor

from nexus_edge.interfaces.quantizer import Quantizer
from nexus_edge.quant.packing import pack
from nexus_edge.quant.rounding import in_chunks, in_groups
from nexus_edge.quant.schemes import Scheme
from nexus_edge.quant.tensor import QuantizedTensor

# What is tried, relative to the multiplier that just covers the group, and then rounded up: to round it to the nearest
# would now and then cut off a third of a group.
_FACTORS = (1.15, 1.07, 1.0, 0.93, 0.86, 0.79)
_LARGEST_INT8, _LARGEST_CODE = 127, 15


def two_level(weight: Tensor, scheme: Scheme, importance: Tensor | None = None) -> QuantizedTensor:
    """Quantize a weight [rows, columns] of float32, float16 or bfloat16, all of whose columns count the same.

    A weight is (code - zero point) * multiplier * scale: the code has 4 bits, its group a zero point and a multiplier
    of 4 bits each, the row a scale. What stands before the scale fits into int8. Each group takes the multiplier that
    loses least; the scale of a row is then fitted to all its groups by least squares.
    """
    return in_chunks(weight, scheme, _quantize_rows)


def _quantize_rows(weight: Tensor, scheme: Scheme) -> dict[str, Tensor]:
    """float32 [rows, columns] -> the tensors of `buffer_specs`"""
    groups = in_groups(weight, scheme.group_size)
    unit = weight.abs().amax(-1)[:, None, None] / _LARGEST_INT8
    steps = groups / torch.where(unit > 0, unit, 1)
    low, high = steps.amin(-1, keepdim=True).clamp_(max=0), steps.amax(-1, keepdim=True).clamp_(min=0)

    least = torch.full_like(low, torch.inf)
    codes, multipliers, zeros = torch.zeros_like(steps), torch.ones_like(low), torch.zeros_like(low)
    for factor in _FACTORS:
        multiplier = ((high - low) * (factor / _LARGEST_CODE)).ceil_().clamp_(1, _LARGEST_CODE)
        zero = (-low / multiplier).round_().clamp_(0, _LARGEST_CODE)
        farthest = torch.maximum(zero, _LARGEST_CODE - zero)
        multiplier = torch.minimum(multiplier, (_LARGEST_INT8 / farthest).floor_())
        code = (steps / multiplier).round_().add_(zero).clamp_(0, _LARGEST_CODE)
        loss = ((code - zero) * multiplier - steps).square_().sum(-1, keepdim=True)
        better = loss < least
        least = torch.where(better, loss, least)
        codes, multipliers = torch.where(better, code, codes), torch.where(better, multiplier, multipliers)
        zeros = torch.where(better, zero, zeros)

    int8 = (codes - zeros) * multipliers
    scales = (int8 * groups).sum((1, 2)) / int8.square().sum((1, 2)).clamp_(min=1)  # 0 for a row of zeros
    packed = {"qweight": codes, "multipliers": multipliers.squeeze(-1), "zero_points": zeros.squeeze(-1)}
    return {name: pack(values.to(torch.uint8), scheme.bits) for name, values in packed.items()} | {
        "scales": scales.to(getattr(torch, scheme.scale_dtype))
    }


QUANTIZER = Quantizer(two_level, frozenset({"int4-two-level"}))
