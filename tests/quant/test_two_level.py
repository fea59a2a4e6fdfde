"""4-bit weights on two levels: whole numbers that fit into int8, close to the best that could be chosen."""

import pytest
import torch
from torch import Tensor

from nexus_edge.quant.methods.two_level import two_level
from nexus_edge.quant.registry import find_quantizer
from nexus_edge.quant.schemes import load_scheme
from nexus_edge.quant.tensor import QuantizedTensor, widen_codes

G16, G32 = load_scheme("int4-g16-int8"), load_scheme("int4-g32-int8")


def gaussian(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)) * 0.02


def int8(quantized: QuantizedTensor) -> Tensor:
    assert quantized.multipliers is not None
    assert quantized.zero_points is not None
    return widen_codes(quantized.qweight, quantized.multipliers, quantized.zero_points, quantized.shape[1])


def test_known_weights() -> None:
    """Two rows of three groups of four: codes in the low half of a byte first, the third group's bytes are padded."""
    qweight = torch.tensor([[[0x10, 0xF8], [0x77, 0x77], [0x0F, 0xF0]], [[0, 0], [0xFF, 0xFF], [0x21, 0x43]]])
    multipliers = torch.tensor([[0x3F, 0x08], [0x81, 0x01]])  # 15, 3, 8 and 1, 8, 1
    zero_points = torch.tensor([[0x78, 0x00], [0x0F, 0x03]])  # 8, 7, 0 and 15, 0, 3
    found = widen_codes(*(tensor.to(torch.uint8) for tensor in (qweight, multipliers, zero_points)), 11)
    assert found.dtype == torch.int8
    assert found.tolist() == [
        [-120, -105, 0, 105, 0, 0, 0, 0, 120, 0, 0],
        [-15, -15, -15, -15, 120, 120, 120, 120, -2, -1, 0],
    ]


@pytest.mark.parametrize("scheme", [G16, G32], ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("columns", [256, 80, 24])
def test_int8_weights_times_a_scale_are_the_weights(scheme, columns) -> None:
    weight = gaussian(40, columns)
    weight[3] = weight[3].abs()
    weight[4, 0] = 3.0
    quantized = two_level(weight, scheme)
    whole = int8(quantized)
    assert torch.equal(quantized.dequantize(), whole.float() * quantized.scales[:, None])
    assert whole.int().abs().max() <= 127
    # The fitted scale can no longer be improved: what is left is orthogonal to the codes.
    left = ((quantized.dequantize() - weight) * whole).sum(1)
    assert (left.abs() <= 1e-4 * (weight * whole).abs().sum(1)).all()


def test_the_choice_for_a_group_is_nearly_the_best_of_all() -> None:
    weight = gaussian(8, 128)
    groups, unit = weight.unflatten(1, (8, 16)), weight.abs().amax(1)[:, None, None] / 127
    least = torch.full((8, 8), torch.inf)
    for multiplier in range(1, 16):
        for zero in range(16):
            if multiplier * max(zero, 15 - zero) <= 127:
                codes = ((groups / (unit * multiplier)).round() + zero).clamp(0, 15)
                loss = ((codes - zero) * multiplier * unit - groups).square().sum(-1)
                least = torch.minimum(least, loss)
    found = (int8(two_level(weight, G16)).float().unflatten(1, (8, 16)) * unit - groups).square().sum(-1)
    # The best takes 240 trials instead of 6.
    assert found.sum() <= 1.06 * least.sum()
    assert (found >= least * (1 - 1e-4)).all()


def test_it_loses_less_than_float_scales_of_the_same_size() -> None:
    """Otherwise there would be no reason to store 4-bit weights of int8 products in this way."""
    weight = gaussian(64, 1024)
    errors, sizes = {}, {}
    for name in ("int4-g16-int8", "int4-g32-int8", "int4-g64-asym", "int4-g64"):
        scheme = load_scheme(name)
        quantized = find_quantizer(scheme.method)(weight, scheme)
        errors[name] = float((quantized.dequantize() - weight).norm())
        sizes[name] = sum(tensor.nbytes for tensor in quantized.buffers().values())
    assert sizes["int4-g32-int8"] < sizes["int4-g64-asym"]
    assert errors["int4-g32-int8"] < 0.95 * errors["int4-g64-asym"]
    assert sizes["int4-g16-int8"] < 1.06 * sizes["int4-g64-asym"]
    assert errors["int4-g16-int8"] < 0.82 * errors["int4-g64-asym"]


def test_zeros_stay_zeros() -> None:
    weight = gaussian(4, 64)
    weight[1], weight[2, :32] = 0, 0
    quantized = two_level(weight, G16)
    restored = quantized.dequantize()
    assert torch.equal(restored[1], weight[1])
    assert torch.equal(restored[2, :32], weight[2, :32])
    assert quantized.steps().shape == weight.shape


def test_error_in_steps() -> None:
    """Half a step, and what the smallest multiplier of the search cuts off: at most a fifth of 15 steps."""
    quantized = two_level(gaussian(64, 512), G32)
    assert ((quantized.dequantize() - gaussian(64, 512)).abs() <= 3.5 * quantized.steps()).all()
