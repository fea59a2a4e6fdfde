"""What an export leaves on disk: small graphs without traces of this machine, one file of weights, all of it used."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from exported_phi3 import Exported

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints.tensors import take
from nexus_edge.families import family_named
from nexus_edge.quant.apply import quantize_tensor
from nexus_edge.quant.schemes import load_scheme

pytestmark = pytest.mark.slow

RECIPES = ["fp32", "int4"]
Exports = Callable[[str], Exported]
TRACES = (b"/work", b"/tmp", b"/home", b"/root", b"/usr", b"site-packages", b"part.root", b".py", b"pkg.torch")


def graph_files(bundle: Exported) -> dict[str, onnx.ModelProto]:
    files = sorted((bundle.root / "onnx").glob("*.onnx"))
    return {path.stem: onnx.load(path, load_external_data=False) for path in files}


def all_weights(bundle: Exported) -> dict[str, torch.Tensor]:
    """Every stored tensor; no graph stores what another one has."""
    files = [safetensors.torch.load_file(path) for path in (bundle.root / "onnx").glob("*.safetensors")]
    stored = {name: tensor for file in files for name, tensor in file.items()}
    assert len(stored) == sum(map(len, files))
    return stored


@pytest.mark.parametrize("recipe", RECIPES)
def test_nothing_tells_where_an_export_was_made(recipe: str, exported: Exports) -> None:
    root = exported(recipe).root
    names = TRACES + tuple(str(path).encode() for path in (Path.home(), Path(__file__).parents[2], root))
    for path in [*(root / "onnx").glob("*.onnx"), *(root / "onnx").glob("*config.json")]:
        content = path.read_bytes()
        assert [name for name in names if name in content] == [], path.name
    for model in graph_files(exported(recipe)).values():
        assert model.producer_name == "nexus-edge"
        assert not model.metadata_props
        assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


@pytest.mark.parametrize("recipe", RECIPES)
def test_graphs_hold_no_weights(recipe: str, exported: Exports) -> None:
    """A weight inside would be stored twice, and break the 2 GB limit of protobuf at full size."""
    bundle = exported(recipe)
    constants = set(bundle.model.constants())
    for name, model in graph_files(bundle).items():
        embedded = {tensor.name: tensor for tensor in model.graph.initializer if not tensor.external_data}
        assert embedded.keys() <= constants, name
        values = [a.t for node in model.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
        assert all(np.prod(value.dims) <= 16 for value in values), name
        assert (bundle.root / "onnx" / f"{name}.onnx").stat().st_size < 60_000


@pytest.mark.parametrize("recipe", RECIPES)
def test_graphs_point_at_the_bytes_of_their_tensors(recipe: str, exported: Exports) -> None:
    bundle = exported(recipe)
    folder = bundle.root / "onnx"
    for name, model in graph_files(bundle).items():
        content = (folder / f"{name}.safetensors").read_bytes()
        tensors, used = safetensors.numpy.load(content), set()
        for tensor in model.graph.initializer:
            place = {entry.key: entry.value for entry in tensor.external_data}
            if not place:
                continue
            offset, size = int(place["offset"]), int(place["length"])
            assert place["location"] == f"{name}.safetensors"
            assert content[offset : offset + size] == tensors[tensor.name].tobytes()
            assert np.prod(tensor.dims) == tensors[tensor.name].size
            assert size % 64 or offset % 64 == 0  # aligned data is mapped, the rest is copied at load
            used.add(tensor.name)
        assert used == set(tensors)


@pytest.mark.parametrize("recipe", RECIPES)
def test_stored_tensors_are_the_quantized_checkpoint(recipe: str, exported: Exports) -> None:
    bundle, split, expected = exported(recipe), family_named("phi3_v").split(), {}
    source = {name: take(bundle.prepared.weights, name) for name in bundle.prepared.weights.infos}
    tower = "model.vision_embed_tokens.img_processor.vision_model"
    unused = (f"{tower}.encoder.layers.2.", f"{tower}.post_layernorm.")  # no result depends on them
    plain = ("norm", "embedding.weight", "class_embedding", "_GN", ".bias", "layrnorm")
    for key, tensor in source.items():
        if key.startswith(unused):
            continue
        module, _, leaf = key.rpartition(".")
        if leaf == "weight" and not any(part in key for part in plain):
            scheme = load_scheme(bundle.recipe.scheme_for(split.owner(module), module))
            parts = quantize_tensor(tensor, scheme, key, bundle.prepared.importance.get(key))
            expected |= {f"{module}.{suffix}": part for suffix, part in parts.items()}
        else:
            expected[key] = tensor
    stored = all_weights(bundle)
    assert stored.keys() == expected.keys()
    for key, tensor in stored.items():
        assert tensor.dtype == expected[key].dtype, key
        assert torch.equal(tensor, expected[key]), key


def test_int4_stores_int4(exported: Exports) -> None:
    stored = all_weights(exported("int4"))
    gate_up = stored["model.layers.0.mlp.gate_up_proj.qweight"]
    assert (gate_up.dtype, tuple(gate_up.shape)) == (torch.uint8, (320, 1, 64))  # 96 columns in a group of 128, padded
    assert stored["model.embed_tokens.qweight"].shape == (512, 1, 128)  # 8 bits, 96 columns in a group of 128, padded
    fc1 = stored["model.vision_embed_tokens.img_processor.vision_model.encoder.layers.0.mlp.fc1.qweight"]
    assert (fc1.dtype, tuple(fc1.shape)) == (torch.int8, (144, 64))


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_manifest_describes_the_graphs(recipe: str, exported: Exports) -> None:
    bundle = exported(recipe)
    opened = Bundle.open(bundle.root, check="sha256")
    graphs = opened.manifest.graphs["onnx"]
    assert opened.manifest.source.weights == "synthetic"
    assert opened.manifest.context_length == 32768
    for name, model in graph_files(bundle).items():
        for described, values in ((graphs[name].inputs, model.graph.input), (graphs[name].outputs, model.graph.output)):
            declared = {
                value.name: tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
                for value in values
            }
            assert {spec.name: spec.shape for spec in described} == declared
    assert graphs["decoder"].scheme == {"fp32": "float32", "int4": "int4-g128-asym, int8-g128"}[recipe]


def test_genai_files_are_complete(exported: Exports) -> None:
    folder = exported("int4").root / "onnx"
    config = json.loads((folder / "genai_config.json").read_text())
    assert {path.name for path in folder.iterdir()} == {
        "vision_encoder.onnx", "embed_tokens.onnx", "decoder.onnx",
        "vision_encoder.safetensors", "embed_tokens.safetensors", "decoder.safetensors",
        "genai_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert config["search"]["max_length"] == 4096  # its whole cache is allocated at the start
    assert config["model"]["context_length"] == 32768
