"""Every method and scheme: what codes are, whatever the weight."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nexus_edge.errors import RecipeError
from nexus_edge.quant import rounding
from nexus_edge.quant.apply import quantize_tensor
from nexus_edge.quant.buffers import buffer_specs
from nexus_edge.quant.packing import unpack
from nexus_edge.quant.registry import find_quantizer, methods, require_quantizer
from nexus_edge.quant.schemes import Scheme, available_schemes, load_scheme
from nexus_edge.quant.tensor import QuantizedTensor

pytestmark = pytest.mark.fast
SHIPPED = {name: load_scheme(name) for name in available_schemes()}
MADE = [
    (method, replace(scheme, method=method))
    for method in methods()
    for scheme in SHIPPED.values()
    if not scheme.is_float and scheme.encoding in find_quantizer(method).encodings
]
"""Each method with each scheme whose encoding it makes, also those that ship with another method."""

every_made = pytest.mark.parametrize(
    ("method", "scheme"), MADE, ids=[f"{method}-{scheme.name}" for method, scheme in MADE]
)
SHAPES = ((33, 256), (7, 80), (1, 16))
"""A group that divides the columns, one that does not, and a weight smaller than a group."""


def weight_of(shape: tuple[int, int]) -> Tensor:
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(shape[1])) * 0.02
    weight[0, ::3] = 0
    return weight


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_scheme_stores_what_it_announces(name: str, shape: tuple[int, int]) -> None:
    stored = quantize_tensor(weight_of(shape), SHIPPED[name])
    found = {
        suffix: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) for suffix, tensor in stored.items()
    }
    assert found == buffer_specs(shape, SHIPPED[name], has_bias=False)


@pytest.mark.parametrize("method", methods())
def test_a_method_makes_an_encoding_that_ships_and_no_other(method: str) -> None:
    made = {scheme.encoding for known, scheme in MADE if known == method}
    assert made == find_quantizer(method).encodings
    for scheme in SHIPPED.values():
        if not scheme.is_float and scheme.encoding not in made:
            with pytest.raises(RecipeError, match=f"{scheme.name}.*{method}"):
                require_quantizer(replace(scheme, method=method))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@every_made
def test_codes_depend_on_the_weight_alone(
    method: str, scheme: Scheme, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on the call, nor on how many rows are worked on at a time."""
    weight, quantize = weight_of(shape), find_quantizer(method)
    kept = weight.clone()
    whole = quantize(weight, scheme).buffers()
    again = quantize(weight, scheme).buffers()
    monkeypatch.setattr(rounding, "_CHUNK", 2 * shape[1])
    chunked = quantize(weight, scheme).buffers()
    for name, tensor in whole.items():
        assert torch.equal(tensor, again[name]) and torch.equal(tensor, chunked[name]), name
    assert torch.equal(weight, kept), "the caller's weight stays as it was"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@every_made
def test_a_code_is_within_half_a_step_of_its_weight(method: str, scheme: Scheme, shape: tuple[int, int]) -> None:
    """Where the method says that it takes the nearest; the outermost codes stand for what is cut off, too."""
    quantizer, weight = find_quantizer(method), weight_of(shape)
    quantized = quantizer(weight, scheme)
    error = (quantized.dequantize() - weight).abs() / quantized.steps().expand_as(weight).clamp_min(1e-30)
    error[quantized.steps().expand_as(weight) == 0] = 0
    assert torch.isfinite(quantized.dequantize()).all()
    if quantizer.nearest:
        inside = ~outermost(quantized)
        assert (error[inside] <= 0.5 + slack(scheme)).all(), float(error[inside].max())


def slack(scheme: Scheme) -> float:
    """In steps. On two levels a row's scale is fitted after its codes were chosen, and a group spans 15 steps; else it
    is arithmetic in float32 with at most 255 codes."""
    return 0.5 if scheme.two_level else 1e-3


def outermost(quantized: QuantizedTensor) -> Tensor:
    """bool [rows, columns]: no further code beyond on one side."""
    if quantized.group_size == 0:
        return quantized.qweight.abs() == 127
    codes = unpack(quantized.qweight, quantized.bits).flatten(-2)[:, : quantized.shape[1]]
    return (codes == 0) | (codes == (1 << quantized.bits) - 1)
