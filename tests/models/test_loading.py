"""From a checkpoint folder to a model: key names, shapes, types, shards, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from golden_phi3 import FOLDER
from torch import Tensor

from nexus_edge.errors import CheckpointError
from nexus_edge.models import from_checkpoint
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.models.phi3_v.params import Phi3VisionParams

INDEX = Path(__file__).parents[3] / "shared/data/phi3_vision_hub_files/model.safetensors.index.json"
WTE = "model.vision_embed_tokens.wte.weight"
POSITIONS = "model.vision_embed_tokens.img_processor.vision_model.embeddings.position_ids"
Tensors = dict[str, Tensor]


@pytest.fixture(scope="session")
def tensors() -> Tensors:
    return safetensors.torch.load_file(FOLDER / "model.safetensors")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Tensors], Path]:
    """Tensors -> a checkpoint folder that holds them."""

    def folder(tensors: Tensors) -> Path:
        (tmp_path / "config.json").write_bytes((FOLDER / "config.json").read_bytes())
        safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
        return tmp_path

    return folder


@pytest.fixture(scope="session", params=["phi3_vision", "phi3_5_vision"])
def full_size(request: pytest.FixtureRequest) -> Tensors:
    """The state dict of a full-size model, without data."""
    with torch.device("meta"):
        return Phi3V(getattr(Phi3VisionParams, request.param)()).state_dict()


def test_full_size_keys_are_those_of_the_official_index(full_size: Tensors) -> None:
    if not INDEX.is_file():
        pytest.skip("the official index is not this project's to copy, and ../shared is not here")
    index = json.loads(INDEX.read_text())
    assert set(full_size) == set(index["weight_map"])
    # total_size counts two bytes for each of the 4,146,621,440 parameters
    assert 2 * sum(tensor.numel() for tensor in full_size.values()) == index["metadata"]["total_size"]


def test_full_size_count_and_shapes(full_size: Tensors) -> None:
    vision = "model.vision_embed_tokens.img_processor.vision_model"
    assert len(full_size) == 592
    assert sum(tensor.numel() for tensor in full_size.values()) == 4_146_621_440
    for key, shape in {
        "model.embed_tokens.weight": (32064, 3072),
        "model.layers.31.self_attn.qkv_proj.weight": (9216, 3072),
        "model.layers.0.mlp.gate_up_proj.weight": (16384, 3072),
        "model.layers.0.mlp.down_proj.weight": (3072, 8192),
        "lm_head.weight": (32064, 3072),
        "model.vision_embed_tokens.glb_GN": (1, 1, 4096),
        "model.vision_embed_tokens.sub_GN": (1, 1, 1, 4096),
        "model.vision_embed_tokens.img_projection.0.weight": (3072, 4096),
        "model.vision_embed_tokens.img_projection.2.bias": (3072,),
        f"{vision}.embeddings.patch_embedding.weight": (1024, 3, 14, 14),
        f"{vision}.embeddings.position_embedding.weight": (577, 1024),
        f"{vision}.pre_layrnorm.weight": (1024,),
        f"{vision}.encoder.layers.23.mlp.fc1.weight": (4096, 1024),
    }.items():
        assert full_size[key].shape == shape


def test_a_loaded_model_is_ready_to_run(tensors: Tensors) -> None:
    model = from_checkpoint(FOLDER)
    assert not model.training
    assert {key: (value.dtype, value.device.type) for key, value in model.state_dict().items()} == dict.fromkeys(
        tensors, (torch.float32, "cpu")
    )
    assert all(torch.equal(value, tensors[key]) for key, value in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    logits = model(input_ids=torch.tensor([[1, 2, 3]]))
    assert logits.shape == (1, 3, 512)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16])
def test_types(stored: torch.dtype, wanted: torch.dtype, tensors: Tensors, write: Callable[[Tensors], Path]) -> None:
    kept = {key: value.to(stored) for key, value in tensors.items()}
    model = from_checkpoint(write(kept), wanted)
    assert all(torch.equal(value, kept[key].to(wanted)) for key, value in model.state_dict().items())
    assert model.model.rope.short_inv_freq.dtype == torch.float32
    assert model(input_ids=torch.tensor([[1, 2]])).dtype == torch.float32


def test_shards(tensors: Tensors, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((FOLDER / "config.json").read_bytes())
    weight_map = {}
    for number in range(3):
        file = f"model-{number + 1:05}-of-00003.safetensors"
        part = {key: tensors[key] for key in sorted(tensors)[number::3]}
        safetensors.torch.save_file(part, tmp_path / file)
        weight_map |= dict.fromkeys(part, file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    model = from_checkpoint(tmp_path)
    assert all(torch.equal(value, tensors[key]) for key, value in model.state_dict().items())


def test_known_extras_are_left_aside(tensors: Tensors, write: Callable[[Tensors], Path]) -> None:
    extras = {WTE: torch.full_like(tensors["model.embed_tokens.weight"], 7.0), POSITIONS: torch.arange(577)[None]}
    model = from_checkpoint(write(tensors | extras))
    assert torch.equal(model.model.embed_tokens.weight, tensors["model.embed_tokens.weight"])


def test_the_alias_stands_in_for_the_embedding(tensors: Tensors, write: Callable[[Tensors], Path]) -> None:
    renamed = dict(tensors)
    renamed[WTE] = renamed.pop("model.embed_tokens.weight")
    model = from_checkpoint(write(renamed))
    assert torch.equal(model.model.embed_tokens.weight, tensors["model.embed_tokens.weight"])


def test_what_does_not_fit_is_named(tensors: Tensors, write: Callable[[Tensors], Path]) -> None:
    damaged = {**tensors, "model.norm.weight": torch.ones(95), "model.layers.3.extra": torch.ones(1)}
    del damaged["model.layers.1.mlp.down_proj.weight"]
    folder = write(damaged)
    with pytest.raises(CheckpointError) as caught:
        from_checkpoint(folder)
    assert str(caught.value) == (
        f"{folder} does not fit the model: 1 missing: model.layers.1.mlp.down_proj.weight; "
        "1 unexpected: model.layers.3.extra; 1 of the wrong shape: model.norm.weight [95] instead of [96]"
    )


@pytest.mark.parametrize("kind", ["gpt2", "../phi3_v", "", None, 3, "spec", "base", "__init__"])
def test_another_model_type_is_refused(kind: object, tensors: Tensors, write: Callable[[Tensors], Path]) -> None:
    folder = write(tensors)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": kind}))
    with pytest.raises(CheckpointError, match="which nexus-edge does not know"):
        from_checkpoint(folder)
