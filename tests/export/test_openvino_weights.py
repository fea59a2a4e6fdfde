"""The IR holds the numbers that the ONNX graphs hold, and OpenVINO computes with them as they are."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import openvino as ov
import pytest
import torch
from exported_phi3 import Exported
from openvino_graphs import EXACT, dequantized, executed, weights_of_products
from torch import Tensor

from nexus_edge.bundle import Bundle, BundleWeights
from nexus_edge.checkpoints import SafetensorsFile
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.quant.linear import QuantEmbedding, QuantLinear
from nexus_edge.recipe import find_recipe

pytestmark = pytest.mark.slow

BOTH = ("onnx", "openvino")
# The golden weights have 3 groups of 64 in a row, the last one half empty: zero points and columns need padding.
RECIPES = ["int4", "int8", "fp16"]


@pytest.fixture(scope="session", params=RECIPES)
def both(request: pytest.FixtureRequest, golden_bundle: Callable[..., Bundle]) -> Exported:
    bundle = golden_bundle(request.param, targets=BOTH)
    return Exported(find_recipe("phi3-vision", request.param), bundle.root)


def unrounded(both: Exported) -> Phi3V:
    """The same weights without rounding of activations."""
    return both.model if both.recipe.graphs["decoder"].scheme == "float16" else both.weights_only


def graphs(bundle: Bundle) -> dict[str, ov.Model]:
    core = ov.Core()
    return {name: core.read_model(bundle.graph("openvino", name)) for name in bundle.manifest.graphs["openvino"]}


def test_same_numbers_as_in_torch(both: Exported) -> None:
    """Exactly: codes, zero points and scales are small integers and float16, whose product float32 rounds once."""
    model = unrounded(both)
    checked = 0
    for graph in graphs(Bundle.open(both.root)).values():
        for name, matrix in dequantized(graph).items():
            owner, _, _ = name.rpartition(".")
            layer = both.model.get_submodule(owner)
            if not isinstance(layer, QuantLinear):
                continue
            expected = layer.weight.float() if layer.scheme.is_float else model.get_submodule(owner).weight
            got = torch.from_numpy(matrix)[:, : layer.shape[1]]
            assert torch.equal(got, expected), name
            checked += 1
    assert checked == sum(isinstance(layer, QuantLinear) for _, layer in used(both))


def used(both: Exported) -> list[tuple[str, torch.nn.Module]]:
    """Quantized layers that lie in a graph: all but those of the vision tower's last layer."""
    last = f"encoder.layers.{both.model.params.vision.num_hidden_layers - 1}."
    return [
        (name, layer)
        for name, layer in both.model.named_modules()
        if isinstance(layer, QuantLinear | QuantEmbedding) and last not in name
    ]


def test_the_bytes_are_those_of_the_other_target(both: Exported) -> None:
    bundle = Bundle.open(both.root)
    onnx, openvino = (BundleWeights(bundle, target) for target in BOTH)
    own = {name for name in openvino.infos if name.endswith(".constants")}
    assert openvino.infos.keys() - own == onnx.infos.keys() - own
    for name in openvino.infos.keys() - own:
        assert openvino.read(name).tobytes() == onnx.read(name).tobytes()


def test_one_file_for_both_where_they_hold_the_same(both: Exported) -> None:
    bundle = Bundle.open(both.root)
    for onnx, openvino in (("decoder", "language_model"), ("embed_tokens", "text_embeddings")):
        first, second = (
            bundle.file(str(bundle.manifest.graphs[target][name].weights))
            for target, name in zip(BOTH, (onnx, openvino), strict=True)
        )
        assert first.samefile(second)


def test_the_bin_is_a_safetensors_file(both: Exported) -> None:
    for info in Bundle.open(both.root).manifest.graphs["openvino"].values():
        assert info.weights is not None
        assert info.weights.endswith(".bin")
        assert SafetensorsFile(both.root / info.weights).infos


def test_the_executed_decoder(both: Exported) -> None:
    """Weights stay in their bits, and attention, norms and rotary embedding each are one node."""
    nodes = executed(Bundle.open(both.root).graph("openvino", "language_model"))
    kinds = Counter(kind for kind, _ in nodes)
    layers = both.model.params.num_hidden_layers
    assert kinds["ScaledDotProductAttention"] == layers
    assert kinds["MemoryInput"] == kinds["MemoryOutput"] == 2 * layers
    assert kinds["RoPE"] == 2 * layers
    assert kinds["RMS"] == 2 * layers + 1
    weights = Counter(types[1] for kind, types in nodes if kind == "FullyConnected")
    stored = {"int4": {"u4": 4 * layers, "u8": 1}, "int8": {"u8": 4 * layers + 1}, "fp16": {"f32": 4 * layers + 1}}
    assert weights == stored[both.recipe.name.rpartition("-")[2]]


def test_the_executed_vision_graphs(both: Exported) -> None:
    if both.recipe.graphs["vision_encoder"].scheme != "int8":
        pytest.skip("no 8-bit weights")
    for name, products in (("vision_embeddings", 6), ("vision_projection", 2)):
        weights = weights_of_products(Bundle.open(both.root).graph("openvino", name))
        assert len(weights) >= products
        assert set(weights) == {"i8"}


def run(bundle: Bundle, graph: str, *tensors: Tensor) -> list[Tensor]:
    """What OpenVINO computes with full-precision activations."""
    compiled = ov.Core().compile_model(bundle.graph("openvino", graph), "CPU", EXACT)
    inputs = [tensor.numpy() for tensor in tensors]
    return [torch.from_numpy(np.array(array)) for array in compiled(inputs).values()]


def close(actual: Tensor, expected: Tensor) -> bool:
    """Float32 sums in another order, through a few layers; see NOISE in test_graphs.py."""
    return actual.shape == expected.shape and bool((actual - expected).abs().max() <= 1e-5 * expected.abs().max())


def test_each_graph_computes_what_torch_computes(both: Exported) -> None:
    bundle, model = Bundle.open(both.root), unrounded(both)
    pixels = torch.randn(3, 3, 336, 336, generator=torch.Generator().manual_seed(1))
    width = model.params.vision.hidden_size
    with torch.inference_mode():
        embedding = model.model.vision_embed_tokens
        features = embedding.img_processor["vision_model"](pixels)
        found = run(bundle, "vision_embeddings", pixels)[0]
        assert found.shape == (3, 576, 1024)
        assert close(found[..., :width], features)
        assert not found[..., width:].any()  # VLMPipeline wants 1024; a narrower tower's are filled up

        joined = torch.randn(1, 7, 4, width, generator=torch.Generator().manual_seed(2))
        padded = torch.nn.functional.pad(joined, (0, 1024 - width)).flatten(2)
        projected = embedding.img_projection(joined.flatten(2))
        assert close(run(bundle, "vision_projection", padded)[0], projected)

        ids = torch.tensor([[1, 5, 0], [9, 9, 2]])
        table = both.model.model.embed_tokens(ids)
        assert torch.equal(run(bundle, "text_embeddings", ids)[0], table)

        embeds = model.model.embed_tokens(ids[:1])
        past = [tensor for pair in model.empty_past(embeds) for tensor in pair]
        positions, mask = torch.arange(3)[None], torch.ones(1, 3, dtype=torch.int64)
        pairs = list(zip(past[0::2], past[1::2], strict=True))
        hidden, _ = model.decode(embeds, positions, torch.tensor(3), mask, pairs)
        found = run(bundle, "language_model", embeds, mask, positions, torch.zeros(1, dtype=torch.int32))[0]
        assert close(found, model.lm_head(hidden))
