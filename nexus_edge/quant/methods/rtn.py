"""Round to nearest: each weight goes to the nearest code of its group."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad

from nexus_edge.quant.buffers import buffer_specs
from nexus_edge.quant.packing import pack
from nexus_edge.quant.registry import quantizer
from nexus_edge.quant.schemes import Scheme
from nexus_edge.quant.tensor import QuantizedTensor

# Weights worked on at a time: float32 temporaries of 1 MB stay in the caches of a core; half the size costs 15 % speed.
_PIECE = 1 << 18
# What "rtn-mse" tries, relative to the scale that just covers the group. A finer list, 22 steps from 1.1 down to 0.68,
# takes less than 1 % off the error that these leave (quant/README.md).
_SHRINKS = (1.07, 1.0, 0.93, 0.86)


@quantizer("rtn")
def round_to_nearest(weight: Tensor, scheme: Scheme, importance: Tensor | None = None) -> QuantizedTensor:
    """Quantize a weight [rows, columns] of float32, float16 or bfloat16; the scale just covers its group, whatever is
    important in it.

    Symmetric groups use the whole range of codes: the weight of largest magnitude is mapped to the lowest code, so the
    scale is negative where that weight is positive (as Q4_0 of llama.cpp). Asymmetric groups map [min, max], widened to
    hold 0, to all codes. Scales are rounded to the type they are stored in before the codes are chosen.
    """
    return in_pieces(weight, scheme, partial(_quantize_rows, search=False))


@quantizer("rtn-mse")
def round_to_nearest_least_squares(weight: Tensor, scheme: Scheme, importance: Tensor | None = None) -> QuantizedTensor:
    """As `round_to_nearest`, with the scale of each group that loses least.

    For every shrink factor the codes c of the weights w are fixed; the scale with the least squared error for them is
    then <c, w> / <c, c>, and the part of |w|^2 that it explains, <c, w>^2 / <c, c>, picks the best factor.

    Args:
        importance: float32 [columns], not negative: what a squared error in a column counts, such as the mean square of
            the activations; None: the same everywhere
    """
    if importance is None:
        return in_pieces(weight, scheme, partial(_quantize_rows, search=True))
    grouped = in_groups(importance.unsqueeze(0), scheme.group_size) if scheme.group_size else None
    return in_pieces(weight, scheme, partial(_quantize_rows, search=True, importance=grouped))


def in_pieces(
    weight: Tensor, scheme: Scheme, quantize: Callable[[Tensor, Scheme], dict[str, Tensor]]
) -> QuantizedTensor:
    """Quantize a weight [rows, columns] of any float type with a function that takes some of its rows as float32."""
    rows, columns = weight.shape
    specs = buffer_specs((rows, columns), scheme, has_bias=False)
    out = {name: torch.empty(size, dtype=getattr(torch, dtype)) for name, (dtype, size) in specs.items()}
    step = max(1, _PIECE // columns)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        for name, tensor in quantize(weight[part].float(), scheme).items():
            out[name][part] = tensor
    codes = (out["qweight"], out["scales"], out.get("zero_points"))
    return QuantizedTensor(*codes, scheme.bits, scheme.group_size, (rows, columns), out.get("multipliers"))


def in_groups(weight: Tensor, group_size: int) -> Tensor:
    """[rows, columns] -> [rows, groups, group_size], the last group padded with zeros"""
    groups = -(-weight.shape[1] // group_size)
    grouped: Tensor = pad(weight, (0, groups * group_size - weight.shape[1])).unflatten(-1, (groups, -1))
    return grouped


def _quantize_rows(weight: Tensor, scheme: Scheme, search: bool, importance: Tensor | None = None) -> dict[str, Tensor]:
    """float32 [rows, columns], and [1, groups, group_size] -> the tensors of `buffer_specs`"""
    if scheme.per_channel:
        return _quantize_channels(weight, scheme)
    return _quantize_groups(weight, scheme, search, importance)


def _quantize_channels(weight: Tensor, scheme: Scheme) -> dict[str, Tensor]:
    """float32 [rows, columns] -> int8 codes of the same shape and a scale per row"""
    scales = (weight.abs().amax(-1) / 127).to(getattr(torch, scheme.scale_dtype))
    return {"qweight": _steps(weight, scales).clamp_(-127, 127).to(torch.int8), "scales": scales}


def _quantize_groups(weight: Tensor, scheme: Scheme, search: bool, importance: Tensor | None) -> dict[str, Tensor]:
    """float32 [rows, columns] -> the grouped tensors of `buffer_specs`"""
    grouped = in_groups(weight, scheme.group_size)
    low, high = grouped.amin(-1), grouped.amax(-1)
    top = (1 << scheme.bits) - 1
    if scheme.symmetric:
        zeros = torch.full_like(low, (top + 1) // 2)
        scales = torch.where(high > -low, high, low) / -zeros
    else:
        low, high = low.clamp(max=0), high.clamp(min=0)
        scales = (high - low) / top
        zeros = _steps(-low.unsqueeze(-1), scales).squeeze(-1).clamp_(0, top)
    if search:
        scales = _least_squares(grouped, scales, zeros, top, importance)
    scales = scales.to(getattr(torch, scheme.scale_dtype))

    codes = _steps(grouped, scales).add_(zeros.unsqueeze(-1)).clamp_(0, top)
    out = {"qweight": pack(codes.to(torch.uint8), scheme.bits), "scales": scales}
    return out if scheme.symmetric else out | {"zero_points": pack(zeros.to(torch.uint8), scheme.bits)}


def _least_squares(grouped: Tensor, scales: Tensor, zeros: Tensor, top: int, importance: Tensor | None) -> Tensor:
    """The best scale of each group [rows, groups] for weights [rows, groups, group_size]."""
    lowest, highest = -zeros.unsqueeze(-1), top - zeros.unsqueeze(-1)
    best, most = scales, torch.zeros_like(scales)
    weighted = grouped if importance is None else grouped * importance
    for shrink in _SHRINKS:
        codes = _steps(grouped, scales * shrink)
        codes = torch.minimum(torch.maximum(codes, lowest, out=codes), highest, out=codes)  # 5x clamp_'s speed
        along = (codes * weighted).sum(-1)
        squares = codes.square_()
        length = (squares if importance is None else squares.mul_(importance)).sum(-1)
        explained = along.square() / length
        better = explained > most  # false for a group of zeros, where 0 / 0 is NaN
        best = torch.where(better, along / length, best)
        most = torch.where(better, explained, most)
    if importance is None:
        return best
    # A column that alone is important would choose its own scale, and clip the others by more than is ever useful.
    return scales * torch.where(scales != 0, best / scales, 1).clamp_(_SHRINKS[-1], _SHRINKS[0])


def _steps(values: Tensor, scales: Tensor) -> Tensor:
    """values [..., group] / scales [...], rounded; 0 where the scale is 0."""
    wide = scales.float().unsqueeze(-1)
    return (values * torch.where(wide != 0, wide.reciprocal(), 0)).round_()
