"""Equalizing changes which channels are rounded finely, and nothing about what the model computes."""

import golden_phi3
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nexus_edge.checkpoints import FolderCheckpoint, TensorInfo
from nexus_edge.checkpoints.tensors import take
from nexus_edge.checkpoints.transforms.base import Transform
from nexus_edge.checkpoints.transforms.equalize import Equalized
from nexus_edge.errors import BundleError
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.models.loading import fill, weights_of
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.models.phi3_v.params import Phi3VisionParams
from nexus_edge.quant.apply import quantize_tensor
from nexus_edge.quant.equalize import LARGEST, Exponents, exponents_of, factors_of, pairs_of
from nexus_edge.quant.schemes import load_scheme
from nexus_edge.quant.tensor import QuantizedTensor

DOWN, NORM = "model.layers.1.mlp.down_proj.weight", "model.layers.0.input_layernorm.weight"
UP = "model.layers.1.mlp.gate_up_proj.weight"


def empty_model() -> Phi3V:
    with torch.device("meta"):
        return Phi3V(Phi3VisionParams.from_json(golden_phi3.config())).eval()


def some_exponents() -> Exponents:
    random, shapes = np.random.default_rng(0), dict(empty_model().named_parameters())
    return {
        pair.consumer: random.integers(-LARGEST, LARGEST + 1, shapes[pair.consumer].shape[1]).astype(np.int8)
        for pair in pairs_of(empty_model())
    }


@pytest.fixture(scope="module")
def original() -> WeightSource:
    return weights_of(FolderCheckpoint(golden_phi3.FOLDER))


def equalized(source: WeightSource, exponents: Exponents) -> Equalized:
    return Equalized(source, factors_of(empty_model(), exponents))


def test_every_decoder_layer_has_its_three_pairs() -> None:
    layers = golden_phi3.config()["num_hidden_layers"]
    assert len(list(pairs_of(empty_model()))) == 3 * layers


@pytest.mark.parametrize("case", ["two_short", "img1"])
def test_the_equalized_model_is_the_original_to_the_last_bit(case: str, original: WeightSource) -> None:
    recorded, model = golden_phi3.Case(case), empty_model()
    fill(model, equalized(original, some_exponents()), torch.float32)
    inputs = (recorded.input_ids, recorded.pixel_values, recorded.image_sizes, recorded.attention_mask)
    with torch.inference_mode():
        assert torch.equal(model(*inputs), recorded.model(*inputs))
    changed = {name: not torch.equal(tensor, recorded.model.get_parameter(name)) for name, tensor in named(model)}
    assert {name for name, differs in changed.items() if differs} == {
        name for pair in pairs_of(model) for name in (pair.consumer, pair.producer)
    }


def named(model: nn.Module) -> list[tuple[str, Tensor]]:
    return list(model.named_parameters())


def test_rows_of_gate_stay_and_those_of_up_are_divided(original: WeightSource) -> None:
    exponents = {DOWN: some_exponents()[DOWN]}
    gate, up = take(equalized(original, exponents), UP).chunk(2)
    old_gate, old_up = take(original, UP).chunk(2)
    assert torch.equal(gate, old_gate)
    assert torch.equal(up, old_up * torch.from_numpy(2.0 ** -exponents[DOWN].astype(np.float32))[:, None])


def test_exponents_follow_the_power_of_the_activation_around_its_median() -> None:
    activation = torch.tensor([1.0, 1.0, 1.0, 256.0, 1 / 256, 0.0, 2.0**40])
    # 0.25 * 8 = 2; silence and what is out of all proportion stop at the largest.
    assert exponents_of(activation).tolist() == [0, 0, 0, 2, -2, -LARGEST, LARGEST]


def test_a_product_with_large_channels_loses_less() -> None:
    random, scheme = torch.Generator().manual_seed(0), load_scheme("int4-g128-asym")
    weight, x = torch.randn(64, 512, generator=random), torch.randn(256, 512, generator=random)
    x[:, ::128] *= 64  # one channel of each group carries nearly all of the product
    factor = torch.from_numpy(2.0 ** exponents_of(x.abs().mean(0)).astype(np.float32))

    def error(factor: Tensor) -> float:
        stored = quantize_tensor(weight * factor, scheme, importance=(x / factor).square().mean(0))
        rounded = QuantizedTensor(stored["qweight"], stored["scales"], stored["zero_points"], 4, 128, (64, 512))
        return float(((x / factor) @ rounded.dequantize().T - x @ weight.T).norm() / (x @ weight.T).norm())

    # Its column is rounded at three times its size (64^0.25 = 2.8, as a power of two 2 or 4), and its group is seldom
    # twice as wide for it.
    assert error(factor) < 0.67 * error(torch.ones(512))


class Halves(Transform):
    """The golden weights in float16."""

    @property
    def infos(self) -> dict[str, TensorInfo]:
        return {name: TensorInfo("float16", info.shape) for name, info in self._source.infos.items()}

    def read(self, name: str) -> Tensor:
        return take(self._source, name).half()


def test_float16_becomes_float32_where_it_would_lose_bits(original: WeightSource) -> None:
    half = Halves(original)
    exponents = {DOWN: np.full(len(some_exponents()[DOWN]), -LARGEST, np.int8)}
    source = equalized(half, exponents)
    assert source.infos[DOWN].dtype == "float32"
    assert source.infos[NORM].dtype == "float16"
    assert torch.equal(take(source, DOWN) * 2.0**LARGEST, half.read(DOWN).float())


@pytest.mark.parametrize(("name", "size"), [(DOWN, 3), ("lm_head.weight", 64)])
def test_exponents_of_another_model_are_refused(name: str, size: int, original: WeightSource) -> None:
    with pytest.raises(BundleError, match=f"equalization of {name} does not fit"):
        equalized(original, {name: np.zeros(size, np.int8)})
