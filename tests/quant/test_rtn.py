"""Round to nearest: the codes are the nearest ones, whatever the shape, type, group and packing."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_edge.quant.methods.rtn import round_to_nearest
from nexus_edge.quant.registry import find_quantizer
from nexus_edge.quant.schemes import Scheme, available_schemes, load_scheme

SCHEMES = [scheme for scheme in map(load_scheme, available_schemes()) if scheme.method.startswith("rtn")]


def _weight(rows: int, columns: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rows * 1000 + columns)
    return (torch.randn(rows, columns, generator=generator) * 0.02).to(dtype)


def _grouped(bits: int, group: int, symmetric: bool, method: str = "rtn") -> Scheme:
    return Scheme("test", "", method, bits, group, symmetric, "float32", "none")


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 150),
    bits=st.sampled_from([4, 8]),
    group=st.sampled_from([16, 32, 128]),
    symmetric=st.booleans(),
    method=st.sampled_from(["rtn", "rtn-mse"]),
)
def test_every_weight_gets_the_nearest_code(rows, columns, bits, group, symmetric, method) -> None:
    scheme = _grouped(bits, group, symmetric, method)
    weight = _weight(rows, columns)
    quantized = find_quantizer(method)(weight, scheme)

    scales = quantized.scales.repeat_interleave(group, dim=1)[:, :columns].double()
    middle = 1 << (bits - 1)
    if quantized.zero_points is None:
        zeros = torch.full_like(scales, middle)
    else:
        packed = quantized.zero_points.int()
        points = packed if bits == 8 else torch.stack((packed & 15, packed >> 4), -1).flatten(-2)
        zeros = points.repeat_interleave(group, dim=1)[:, :columns].double()
    every_code = torch.arange(2 * middle, dtype=torch.float64)
    every_value = (every_code - zeros.unsqueeze(-1)) * scales.unsqueeze(-1)
    least = (every_value - weight.unsqueeze(-1)).abs().amin(-1)
    error = (quantized.dequantize() - weight).abs()
    # Float32 arithmetic may take the other neighbour of a tie; that costs a few roundings of the value itself.
    assert (error <= least + 1e-6 * weight.abs().max()).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_error_is_at_most_half_a_step(scheme, dtype) -> None:
    weight = _weight(24, 256, dtype)
    quantized = find_quantizer("rtn")(weight, scheme)
    scales = quantized.scales.float().abs()
    step = scales.unsqueeze(-1) if scheme.per_channel else scales.repeat_interleave(scheme.group_size, dim=1)
    error = (quantized.dequantize() - weight.float()).abs()
    # Half a step inside the range of codes; one step for the far end of a symmetric group, which has one code less.
    # A scale stored in float16 is off by up to 2^-11, which adds up over the range of codes.
    limit = 1.0 if scheme.symmetric and not scheme.per_channel else 0.5
    rounding = 2.0**-11 * 2**scheme.bits if scheme.scale_dtype == "float16" else 1e-4
    assert (error <= (limit + rounding) * step).all()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group", [32, 64, 128])
def test_searching_the_scale_loses_less_in_every_group(group, symmetric) -> None:
    weight = _weight(64, 512)
    plain, searched = (
        find_quantizer(method)(weight, _grouped(4, group, symmetric)).dequantize() for method in ("rtn", "rtn-mse")
    )
    loss = [(q - weight).square().unflatten(-1, (-1, group)).sum(-1) for q in (plain, searched)]
    # The search fits the scale to the codes and then rounds again with that scale, which can only come closer.
    assert (loss[1] <= loss[0] * (1 + 1e-5)).all()
    assert loss[1].sum() < 0.93 * loss[0].sum()


def test_known_codes() -> None:
    """facts of the operator: -8..7 in order are the codes 0..15, and the bytes hold the even one in the low nibble."""
    weight = torch.arange(-8, 8, dtype=torch.float32).repeat(2, 1) * torch.tensor([[1.0], [10.0]])
    quantized = round_to_nearest(weight, _grouped(4, 16, True))
    assert quantized.qweight.tolist() == [[[16, 50, 84, 118, 152, 186, 220, 254]]] * 2
    assert quantized.scales.tolist() == [[1.0], [10.0]]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_zero_weights_stay_zero(scheme) -> None:
    weight = _weight(4, 256)
    weight[1] = 0
    weight[2, :128] = 0
    restored = find_quantizer(scheme.method)(weight, scheme).dequantize()
    assert torch.equal(restored[1], weight[1])
    assert torch.equal(restored[2, :128], weight[2, :128])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_group_on_one_side_of_zero_is_not_cut_off(sign) -> None:
    """Its zero point would lie outside the codes, so the range must be widened to hold zero."""
    weight = sign * (1 + _weight(4, 32).abs())
    quantized = round_to_nearest(weight, _grouped(4, 32, False))
    assert ((quantized.dequantize() - weight).abs() <= 0.5001 * quantized.scales).all()


def test_scales_are_rounded_before_the_codes_are_chosen() -> None:
    weight = _weight(64, 256)
    narrow = dataclasses.replace(_grouped(8, 32, False), scale_dtype="float16")
    quantized = round_to_nearest(weight, narrow)
    assert quantized.scales.dtype == torch.float16
    step = quantized.scales.float().repeat_interleave(32, dim=1)
    # Codes chosen with the unrounded scale would be off by up to 255 * 2^-11 / 2 = 6 % of a step more at the far end.
    inside = (quantized.dequantize() - weight).abs() <= 0.5001 * step
    assert inside.float().mean() > 0.99


@pytest.mark.parametrize("name", ["int4-g32", "int4-g64-asym"])
def test_scales_are_fitted_where_errors_count(name: str) -> None:
    random, scheme = torch.Generator().manual_seed(0), load_scheme(name)
    weight, counts = torch.randn(64, 256, generator=random), 10 ** (2 * torch.rand(256, generator=random))

    def losses(importance: torch.Tensor | None) -> tuple[float, float]:
        error = (find_quantizer(scheme.method)(weight, scheme, importance).dequantize() - weight).square()
        return float((error * counts).sum()), float(error.sum())

    (weighted, plain), (weighted_without, plain_without) = losses(counts), losses(None)
    assert weighted < weighted_without, "what was asked for"
    assert plain > plain_without, "costs something elsewhere"


@pytest.mark.parametrize("name", ["int4-g64-asym", "int4-g64"])
def test_one_important_column_does_not_clip_the_others(name: str) -> None:
    scheme, weight = load_scheme(name), _weight(64, 128)
    important = torch.full((128,), 1e-6)
    important[5] = 1.0
    covering = find_quantizer("rtn")(weight, dataclasses.replace(scheme, scale_dtype="float32"))
    fitted = find_quantizer(scheme.method)(weight, scheme, important)
    share = fitted.scales.float() / covering.scales
    # The factors that are tried reach from 0.86 to 1.07; float16 keeps 11 bits.
    assert share.min() > 0.86 * (1 - 2**-11) and share.max() < 1.07 * (1 + 2**-11)


def test_columns_that_count_nothing_are_rounded_all_the_same() -> None:
    scheme, weight = load_scheme("int4-g64-asym"), _weight(8, 128)
    silent = torch.zeros(128)
    silent[64:] = 1.0
    plain = find_quantizer(scheme.method)(weight, scheme)
    rounded = find_quantizer(scheme.method)(weight, scheme, silent)
    assert torch.isfinite(rounded.scales).all()
    assert (rounded.dequantize() - weight).norm() < 1.2 * (plain.dequantize() - weight).norm()
