"""A quantized layer computes the same before and after export."""

import pytest
import torch

from nexus_edge.quant.apply import quantize_tensor
from nexus_edge.quant.linear import QuantEmbedding, QuantLinear
from nexus_edge.quant.schemes import load_scheme

pytestmark = pytest.mark.slow

# The graph and the eager op make the same integers and differ in the order of float32 sums only: sqrt(80) roundings of
# 6e-8, relative to the largest output.
SUMMATION_NOISE = 1e-6
# One of each form; a graph takes half a second.
SCHEMES = ["float16", "int8", "int8-g32", "int4-g32", "int4-g64-asym", "int4-g16-int8", "int4-g32-int8"]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", SCHEMES)
def test_linear(name, bias, outliers, run_exported) -> None:
    scheme, generator = load_scheme(name), torch.Generator().manual_seed(1)
    meta, layer = (QuantLinear((33, 80), scheme, bias=bias) for _ in range(2))
    layer.fill(quantize_tensor(torch.randn(33, 80, generator=generator), scheme))
    if bias:
        layer.fill({"bias": torch.randn(33, generator=generator)})
    for x in (outliers, outliers[:1, 3:4]):
        expected = layer(x)
        y = torch.from_numpy(run_exported(meta, layer, x))
        assert y.shape == expected.shape
        assert (y - expected).abs().max() <= SUMMATION_NOISE * expected.abs().max()


@pytest.mark.parametrize(("name", "width"), [*((name, 64) for name in SCHEMES), ("int4-g32", 80)])
def test_embedding(name, width, run_exported) -> None:
    scheme = load_scheme(name)
    meta, layer = (QuantEmbedding((50, width), scheme) for _ in range(2))
    layer.fill(quantize_tensor(torch.randn(50, width, generator=torch.Generator().manual_seed(1)), scheme))
    ids = torch.arange(50).view(5, 10)
    # A product of an integer and a float32 scale on both sides: no room for a difference.
    assert torch.equal(torch.from_numpy(run_exported(meta, layer, ids)), layer(ids))


def test_a_token_does_not_depend_on_its_neighbours(outliers, run_exported) -> None:
    """What one range for all tokens, as DynamicQuantizeMatMul takes it, would break."""
    scheme = load_scheme("int8")
    meta, layer = (QuantLinear((33, 80), scheme) for _ in range(2))
    layer.fill(quantize_tensor(torch.randn(33, 80, generator=torch.Generator().manual_seed(1)), scheme))
    together = run_exported(meta, layer, outliers)
    outliers[:, 5:] *= 1000
    apart = run_exported(meta, layer, outliers)
    assert (together[:, :5] == apart[:, :5]).all()
