"""Round to nearest: each weight goes to the nearest code of its group, without calibration data."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from nexus_edge.quant.buffers import buffer_specs
from nexus_edge.quant.packing import pack
from nexus_edge.quant.registry import quantizer
from nexus_edge.quant.schemes import Scheme
from nexus_edge.quant.tensor import QuantizedTensor

# Weights worked on at a time: the float32 temporaries of one piece then stay in a core's L2 cache.
_PIECE = 1 << 17


@quantizer("rtn")
def round_to_nearest(weight: Tensor, scheme: Scheme) -> QuantizedTensor:
    """Quantize a weight [rows, columns] of float32, float16 or bfloat16.

    Symmetric groups use the whole range of codes: the weight of largest magnitude is mapped to the lowest code, so the
    scale is negative where that weight is positive (as Q4_0 of llama.cpp). Asymmetric groups map [min, max], widened to
    hold 0, to all codes. Scales are rounded to the type they are stored in before the codes are chosen.
    """
    rows, columns = weight.shape
    out = {
        name: torch.empty(size, dtype=getattr(torch, dtype))
        for name, (dtype, size) in buffer_specs((rows, columns), scheme, has_bias=False).items()
    }
    step = max(1, _PIECE // columns)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        for name, tensor in _quantize_rows(weight[part].float(), scheme).items():
            out[name][part] = tensor
    return QuantizedTensor(
        out["qweight"], out["scales"], out.get("zero_points"), scheme.bits, scheme.group_size, (rows, columns)
    )


def _quantize_rows(weight: Tensor, scheme: Scheme) -> dict[str, Tensor]:
    """float32 [rows, columns] -> the tensors of `buffer_specs`"""
    scale_dtype = getattr(torch, scheme.scale_dtype)
    if scheme.per_channel:
        scales = (weight.abs().amax(-1) / 127).to(scale_dtype)
        return {"qweight": _steps(weight, scales).clamp_(-127, 127).to(torch.int8), "scales": scales}

    groups = -(-weight.shape[1] // scheme.group_size)
    grouped = pad(weight, (0, groups * scheme.group_size - weight.shape[1])).unflatten(-1, (groups, -1))
    low, high = grouped.amin(-1), grouped.amax(-1)
    top = (1 << scheme.bits) - 1
    if scheme.symmetric:
        middle = (top + 1) // 2
        scales = (torch.where(high > -low, high, low) / -middle).to(scale_dtype)
        codes = _steps(grouped, scales).add_(middle).clamp_(0, top)
        return {"qweight": pack(codes.to(torch.uint8), scheme.bits), "scales": scales}

    low, high = low.clamp(max=0), high.clamp(min=0)
    scales = ((high - low) / top).to(scale_dtype)
    zeros = _steps(-low.unsqueeze(-1), scales).clamp_(0, top)
    codes = _steps(grouped, scales).add_(zeros).clamp_(0, top)
    return {
        "qweight": pack(codes.to(torch.uint8), scheme.bits),
        "scales": scales,
        "zero_points": pack(zeros.squeeze(-1).to(torch.uint8), scheme.bits),
    }


def _steps(values: Tensor, scales: Tensor) -> Tensor:
    """values [..., group] / scales [...], rounded; 0 where the scale is 0."""
    wide = scales.float().unsqueeze(-1)
    return (values * torch.where(wide != 0, wide.reciprocal(), 0)).round_()
