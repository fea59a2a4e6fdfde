"""Replacing layers in a model that has data: results, errors and names."""

import pytest
import torch
from torch import Tensor, nn

from nexus_edge.errors import CheckpointError
from nexus_edge.quant.apply import quantize_modules, quantize_tensor
from nexus_edge.quant.buffers import buffer_specs
from nexus_edge.quant.linear import QuantEmbedding, QuantLinear
from nexus_edge.quant.registry import find_quantizer
from nexus_edge.quant.schemes import available_schemes, load_scheme


class _Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(50, 80)
        self.up = nn.Linear(80, 96)
        self.head = nn.Linear(96, 50, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.relu(self.up(self.embed(ids))))


@pytest.mark.parametrize("name", available_schemes())
def test_a_quantized_model_computes_with_the_dequantized_weights(name: str) -> None:
    """Activations are rounded too, so the limit is their 127 steps: 1/254 of a token's largest value in each of two
    products, against which the sum over 80 or 96 independent errors averages; 2 % of the largest output holds it."""
    scheme = load_scheme(name)
    model, expected = _Toy().eval(), _Toy().eval()
    quantize_modules(model, lambda _: scheme)
    for layer in (expected.embed, expected.up, expected.head):
        if scheme.is_float:
            layer.weight.data = layer.weight.data.to(getattr(torch, f"float{scheme.bits}")).float()
        else:
            layer.weight.data = find_quantizer(scheme.method)(layer.weight.data, scheme).dequantize()
    ids = torch.arange(50).view(5, 10)
    y, y0 = model(ids), expected(ids)
    assert y.shape == y0.shape
    difference = (y - y0).abs().max() / y0.abs().max()
    if scheme.activation == "none":
        assert difference <= 1e-6
    else:
        assert 1e-4 <= difference <= 2e-2  # rounded, and not by much
    assert not any(module.training for module in model.modules())
    torch.testing.assert_close(model.embed(ids), expected.embed(ids))


@pytest.mark.parametrize("name", available_schemes())
def test_state_dict_is_what_the_exporter_writes(name: str) -> None:
    scheme = load_scheme(name)
    model = _Toy()
    quantize_modules(model, lambda _: scheme)
    expected = {
        f"{layer}.{suffix}": spec
        for layer, shape, bias in (("embed", (50, 80), False), ("up", (96, 80), True), ("head", (50, 96), False))
        for suffix, spec in buffer_specs(shape, scheme, has_bias=bias).items()
    }
    found = {key: (str(t.dtype).removeprefix("torch."), tuple(t.shape)) for key, t in model.state_dict().items()}
    assert found == expected


def test_layers_take_codes_that_exist_already() -> None:
    scheme = load_scheme("int4-g32-asym")
    torch.manual_seed(0)
    weight, bias, x = torch.randn(8, 64), torch.randn(8), torch.randn(3, 64)
    quantized = find_quantizer("rtn")(weight, scheme)
    layer, table = QuantLinear((8, 64), scheme, bias=True), QuantEmbedding((8, 64), scheme)
    layer.fill(quantized.buffers() | {"bias": bias})
    table.fill(quantized.buffers())
    # The activation's 127 steps: errors of 0.005 rms times weights of about 1, 64 of them, five sigma.
    torch.testing.assert_close(layer(x), x @ quantized.dequantize().T + bias, rtol=0, atol=0.2)
    torch.testing.assert_close(table(torch.tensor([[3, 0]])), quantized.dequantize()[[3, 0]].unsqueeze(0))


@pytest.mark.parametrize("buffers", [{"scale": torch.ones(8, 2)}, {"scales": torch.ones(8, 3)}])
def test_a_layer_refuses_buffers_that_are_not_its_own(buffers) -> None:
    with pytest.raises(RuntimeError, match="scale"):
        QuantLinear((8, 64), load_scheme("int4-g32")).fill(buffers)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", available_schemes())
def test_nan_and_inf_are_refused_by_name(name: str, bad: float) -> None:
    weight = torch.randn(16, 256)
    weight[7, 200] = bad
    with pytest.raises(CheckpointError, match=r"model\.head\.weight: holds NaN, Inf"):
        quantize_tensor(weight, load_scheme(name), "model.head.weight")


def test_a_weight_too_large_for_float16_scales_is_refused() -> None:
    weight = torch.full((2, 64), 1e7)
    with pytest.raises(CheckpointError, match="too large for scheme int4-g32"):
        quantize_tensor(weight, load_scheme("int4-g32"), "w")
