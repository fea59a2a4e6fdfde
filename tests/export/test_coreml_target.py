"""Core ML packages of the embedded checkpoints: what is in a bundle, what the packages hold, and what they compute.

They are evaluated by `nexus_edge.engines.coreml.mil`, beside the PyTorch model with the bundle's weights.
"""

import json

import coreml_packages
import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("coremltools", reason="needs the extra `coreml`")

from nexus_edge.bundle import Bundle, BundleWeights, GraphInfo
from nexus_edge.engines.coreml.mil import MilFunction, MilModel
from nexus_edge.errors import MissingExtraError
from nexus_edge.layers.hd_assembly import merge_patches
from nexus_edge.models.biomedclip.model import BiomedClip
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.parity.sources import load_quantized
from nexus_edge.quant.linear import QuantLinear
from nexus_edge.quant.tensor import QuantizedTensor
from nexus_edge.recipe import find_recipe
from nexus_edge.targets import make_target
from nexus_edge.targets.coreml.layer_outputs import value_name

pytestmark = pytest.mark.slow

HALF = 5e-3  # relative: weights, scales and tables rounded to float16 (2^-11 each) through up to 6 layers
ROUNDED = 2e-2  # the same with every value between operations rounded to float16, through 4 layers and a cache
SCALES = 2.0**-11  # a scale that becomes a float16
CHUNKS = ("decoder_1_of_2", "decoder_2_of_2")  # of two layers each


@pytest.fixture
def encoders(coreml_dual: Bundle) -> Bundle:
    """BiomedCLIP in int8."""
    return coreml_dual


@pytest.fixture
def vlm(coreml_vlm: Bundle) -> Bundle:
    """Phi-3-Vision in int4."""
    return coreml_vlm


def package(bundle: Bundle, name: str) -> MilModel:
    return MilModel.open(bundle.root / "coreml" / f"{name}.mlpackage")


def original(bundle: Bundle) -> nn.Module:
    """The PyTorch model with the weights that the bundle's codes stand for, which rounds no activation."""
    model = load_quantized(bundle)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, QuantLinear) and layer.qweight.device.type != "meta":
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, dense(layer))
    return model


def dense(layer: QuantLinear) -> nn.Linear:
    rows, columns = layer.shape
    new = nn.Linear(columns, rows, bias=layer.bias is not None)
    new.weight.data = weight_of(layer)
    if layer.bias is not None:
        new.bias.data = layer.bias
    return new


def weight_of(layer: QuantLinear) -> Tensor:
    scheme = layer.scheme
    codes = (layer.qweight, layer.scales, layer.zero_points)
    return QuantizedTensor(*codes, scheme.bits, scheme.group_size, layer.shape).dequantize()


def distance(values: np.ndarray, right: Tensor) -> float:
    """Relative L2."""
    expected = right.detach().double().numpy().reshape(values.shape)
    return float(np.linalg.norm(values - expected) / np.linalg.norm(expected))


def test_the_manifest_says_what_the_packages_say(encoders: Bundle, vlm: Bundle) -> None:
    for bundle in (encoders, vlm):
        graphs = bundle.manifest.graphs["coreml"].values()
        programs = [graph.program for graph in graphs if graph.program is not None]
        packages = {path.relative_to(bundle.root).as_posix() for path in (bundle.root / "coreml").glob("*.mlpackage")}
        assert len(programs) == len(graphs) and {program.package for program in programs} == packages
        for package in packages:
            functions = MilModel.open(bundle.root / package).functions
            described = {graph.program.function: graph for graph in graphs if graph.program.package == package}
            assert described.keys() == functions.keys()
            for name, graph in described.items():
                compare(graph, functions[name])


def compare(graph: GraphInfo, found: MilFunction) -> None:
    assert graph.program is not None
    for tensors, features in (
        (graph.inputs, found.inputs), (graph.outputs, found.outputs), (graph.program.states, found.states)
    ):  # fmt: skip
        assert [tensor.name for tensor in tensors] == list(features), graph.file
        for tensor in tensors:
            feature = features[tensor.name]
            if tensor.name in graph.program.images:
                assert feature.kind == "image"
                assert feature.shape == tensor.shape[2:]
            else:
                assert (feature.dtype, feature.shape) == (tensor.dtype, tensor.shape)


def test_the_numbers_are_those_of_the_onnx_bundle(vlm: Bundle, tiny_bundle: Bundle) -> None:
    ours, theirs = BundleWeights(vlm), BundleWeights(tiny_bundle)
    assert len(ours.infos) > 100 and ours.infos.keys() <= theirs.infos.keys()
    for name in ours.infos:
        np.testing.assert_array_equal(ours.read(name), theirs.read(name), err_msg=name)


@pytest.mark.parametrize("fixture", ["encoders", "vlm"])
def test_every_quantized_layer_is_a_compressed_constant_with_the_stored_numbers(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    bundle: Bundle = request.getfixturevalue(fixture)
    model = load_quantized(bundle)
    found = {}
    for path in (bundle.root / "coreml").glob("*.mlpackage"):
        for function in coreml_packages.program_of(path).functions.values():
            found |= {op.name: op for op in function.operations if op.op_type.startswith("constexpr_")}
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, QuantLinear)}
    used = {name: layer for name, layer in layers.items() if layer.qweight.device.type != "meta"}
    assert len(used) > 10
    for name, layer in used.items():
        values = coreml_packages.dequantized(found[f"{name}.weight".replace(".", "_")])[:, : layer.shape[1]]
        np.testing.assert_allclose(values, weight_of(layer).double().numpy(), rtol=SCALES, atol=1e-7, err_msg=name)


def test_two_functions_share_their_weights(encoders: Bundle) -> None:
    def size(name: str) -> int:
        return (encoders.root / f"coreml/{name}.mlpackage/Data/com.apple.CoreML/weights/weight.bin").stat().st_size

    assert len(package(encoders, "image_encoder").functions) == 2
    assert size("image_encoder") < 1.05 * size("image_encoder_ios17")  # which has one of them


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["image_encoder", "image_encoder_ios17"])
def test_an_image_becomes_its_vector(encoders: Bundle, name: str, precision: str) -> None:
    model = original(encoders)
    assert isinstance(model, BiomedClip)
    values = np.random.default_rng(4).integers(0, 256, (128, 128, 3), np.uint8)
    config = json.loads((encoders.root / "processor/config.json").read_text())["preprocess_cfg"]
    pixels = (torch.tensor(values).permute(2, 0, 1) / 255 - torch.tensor(config["mean"]).view(3, 1, 1)) / (
        torch.tensor(config["std"]).view(3, 1, 1)
    )
    right = model.encode_image(pixels[None])
    functions = package(encoders, name).functions
    image = functions.get("image") or functions["main"]
    assert distance(image.run({"image": values}, precision=precision)["image_embeds"], right) < HALF
    if "pixel_values" in functions:
        given = {"pixel_values": pixels[None].numpy()}
        assert distance(functions["pixel_values"].run(given, precision=precision)["image_embeds"], right) < HALF


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["text_encoder", "text_encoder_ios17"])
def test_a_text_becomes_its_vector_and_padding_does_nothing(encoders: Bundle, name: str, precision: str) -> None:
    model = original(encoders)
    assert isinstance(model, BiomedClip)
    words = torch.randint(1, 200, (1, 20), generator=torch.Generator().manual_seed(1))
    ids = torch.nn.functional.pad(words, (0, model.context_length - 20))
    given = {"input_ids": ids.numpy().astype(np.int32)}
    found = package(encoders, name).main.run(given, precision=precision)["text_embeds"]
    assert distance(found, model.encode_text(words)) < HALF


@pytest.mark.parametrize(("precision", "most"), [("fp32", HALF), ("fp16", ROUNDED)])
def test_a_prompt_in_pieces_and_then_token_by_token(vlm: Bundle, precision: str, most: float) -> None:
    model = original(vlm)
    assert isinstance(model, Phi3V)
    ids = torch.randint(1, 600, (1, 72), generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        right = model(ids)[0]
    embed, *chunks, head = (package(vlm, name) for name in ("embed_tokens", *CHUNKS, "head"))
    states, rows = [chunk.main.new_state() for chunk in chunks], []
    for start, stop, width, function in ((0, 64, 64, "prefill"), (64, 70, 64, "prefill"), (70, 71, 1, "decode")):
        piece = np.zeros(
            (1, width), np.int32
        )  # the rest of the second piece is filled up, and overwritten by the third
        piece[0, : stop - start] = ids[0, start:stop]
        x = embed.functions[f"tokens_{width}"].run({"input_ids": piece}, precision=precision)["inputs_embeds"]
        given = {"position": np.array([start], np.int32), "length": np.array([71], np.int32)}
        for chunk, state in zip(chunks, states, strict=True):
            x = chunk.functions[function].run({"hidden_states": x, **given}, state, precision)["output_hidden_states"]
        rows.append(x[0, : stop - start])
    logits = [
        head.main.run({"hidden_states": row[None, None]}, precision=precision)["logits"] for row in np.concatenate(rows)
    ]
    assert distance(np.concatenate(logits)[:, 0], right[:71]) < most


def test_long_rope_changes_its_list_behind_the_limit(vlm: Bundle) -> None:
    model = original(vlm)
    assert isinstance(model, Phi3V)
    limit = model.params.rope.original_max_position_embeddings
    chunks = [package(vlm, name).functions["decode"] for name in CHUNKS]
    generator = np.random.default_rng(8)
    x = generator.standard_normal((1, 1, model.params.hidden_size)).astype(np.float32) * 0.1
    for length in (limit, limit + 1):
        state = {
            name: generator.standard_normal(zeros.shape).astype(np.float32)
            for chunk in chunks
            for name, zeros in chunk.new_state().items()
        }
        past = [
            torch.from_numpy(state[f"{part}_{place}"])[:, :, :700] for place in range(4) for part in ("key", "value")
        ]
        pairs = list(zip(past[0::2], past[1::2], strict=True))
        given = (
            torch.from_numpy(x),
            torch.tensor([[700]]),
            torch.tensor(length),
            torch.ones(1, 701, dtype=torch.int64),
        )
        with torch.inference_mode():
            right, _ = model.decode(*given, pairs)
        inputs = {"position": np.array([700], np.int32), "length": np.array([length], np.int32)}
        hidden = x
        for chunk in chunks:
            hidden = chunk.run({"hidden_states": hidden, **inputs}, state)["output_hidden_states"]
        found = model.model.norm(torch.from_numpy(hidden)).detach().numpy()
        assert distance(found, right) < HALF


def test_crops_become_the_rows_that_the_layout_places(vlm: Bundle) -> None:
    model = original(vlm)
    assert isinstance(model, Phi3V)
    vision = model.model.vision_embed_tokens
    pixels = torch.randn(1, 3, 336, 336, generator=torch.Generator().manual_seed(3))
    found = package(vlm, "vision_encoder").functions["crops_1"].run({"pixel_values": pixels.numpy()})
    with torch.inference_mode():
        features = vision.img_projection(merge_patches(vision.img_processor["vision_model"](pixels)))
        separators = torch.cat((vision.sub_GN.flatten(0, 2), vision.glb_GN.flatten(0, 1)))
        assert distance(found["features"], features) < HALF
        assert distance(found["separators"], vision.img_projection(separators)) < HALF


def test_what_leaves_a_layer_has_its_name(encoders: Bundle, vlm: Bundle) -> None:
    for bundle, file, layers in (
        (encoders, "image_encoder", [f"visual.trunk.blocks.{place}" for place in range(6)]),
        (encoders, "text_encoder", [f"text.transformer.encoder.layer.{place}" for place in range(2)]),
        (vlm, CHUNKS[0], ["model.layers.0"]),
        (vlm, CHUNKS[1], ["model.layers.2"]),
    ):
        values = package(bundle, file).main.values
        for layer in layers:
            assert any(name.startswith(value_name(layer)) for name in values), layer


def test_without_coremltools_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nexus-edge\[coreml\]'"):
        make_target("coreml", find_recipe("biomedclip", "int8"), ())
