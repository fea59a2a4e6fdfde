"""What quantizers that round to the nearest code share: chunks of rows, groups, scales, codes."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from nexus_edge.quant.buffers import buffer_specs
from nexus_edge.quant.packing import pack
from nexus_edge.quant.schemes import Scheme
from nexus_edge.quant.tensor import QuantizedTensor

# Weights worked on at a time: float32 temporaries of 1 MB stay in the caches of a core; half the size costs 15 % speed.
_CHUNK = 1 << 18

FitScales = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""From weights [rows, groups, group_size], scales and zero points [rows, groups], and the largest code to scales."""


def in_chunks(
    weight: Tensor, scheme: Scheme, quantize: Callable[[Tensor, Scheme], dict[str, Tensor]]
) -> QuantizedTensor:
    """Quantize a weight [rows, columns] of any float type with a function that takes some of its rows as float32."""
    rows, columns = weight.shape
    specs = buffer_specs((rows, columns), scheme, has_bias=False)
    out = {name: torch.empty(size, dtype=getattr(torch, dtype)) for name, (dtype, size) in specs.items()}
    step = max(1, _CHUNK // columns)
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


def quantize_rows(weight: Tensor, scheme: Scheme, fit_scales: FitScales | None = None) -> dict[str, Tensor]:
    """float32 [rows, columns] -> the tensors of `buffer_specs`; None keeps the scales that just cover their groups."""
    if scheme.per_channel:
        return _quantize_channels(weight, scheme)
    return _quantize_groups(weight, scheme, fit_scales)


def _quantize_channels(weight: Tensor, scheme: Scheme) -> dict[str, Tensor]:
    """float32 [rows, columns] -> int8 codes of the same shape and a scale per row"""
    scales = (weight.abs().amax(-1) / 127).to(getattr(torch, scheme.scale_dtype))
    return {"qweight": steps_of(weight, scales).clamp_(-127, 127).to(torch.int8), "scales": scales}


def _quantize_groups(weight: Tensor, scheme: Scheme, fit_scales: FitScales | None) -> dict[str, Tensor]:
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
        zeros = steps_of(-low.unsqueeze(-1), scales).squeeze(-1).clamp_(0, top)
    if fit_scales is not None:
        scales = fit_scales(grouped, scales, zeros, top)
    scales = scales.to(getattr(torch, scheme.scale_dtype))

    codes = steps_of(grouped, scales).add_(zeros.unsqueeze(-1)).clamp_(0, top)
    out = {"qweight": pack(codes.to(torch.uint8), scheme.bits), "scales": scales}
    return out if scheme.symmetric else out | {"zero_points": pack(zeros.to(torch.uint8), scheme.bits)}


def steps_of(values: Tensor, scales: Tensor) -> Tensor:
    """values [..., group] / scales [...], rounded; 0 where the scale is 0."""
    wide = scales.float().unsqueeze(-1)
    return (values * torch.where(wide != 0, wide.reciprocal(), 0)).round_()
