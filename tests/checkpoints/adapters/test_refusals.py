"""Adapters that are not merged: each says in one line which key, tensor or module it is about."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from lora_adapter import TINY, write_adapter
from torch import Tensor

from nexus_edge.checkpoints import FolderCheckpoint, adapted
from nexus_edge.checkpoints.adapters.adapter import Adapter
from nexus_edge.checkpoints.adapters.base import Base
from nexus_edge.checkpoints.adapters.belonging import compare_base
from nexus_edge.checkpoints.adapters.config import RULES, AdapterConfig
from nexus_edge.checkpoints.adapters.plan import plan
from nexus_edge.checkpoints.base import TensorInfo
from nexus_edge.errors import CheckpointError
from nexus_edge.interfaces.weights import WeightRules
from nexus_edge.models.loading import weights_of

QKV = "model.layers.1.self_attn.qkv_proj"
KEY = f"base_model.model.{QKV}"
PUBLISHED = "microsoft/Phi-3-vision-128k-instruct"


def edit(adapter: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    path = adapter / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    change(tensors)
    safetensors.torch.save_file(tensors, path)


def merge(adapter: Path) -> None:
    """As an export does before anything else."""
    weights_of(adapted(FolderCheckpoint(TINY), adapter))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"peft_type": None}, "adapter_config.json: peft_type is null; adapters of other kinds"),
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'; known is 'LORA'"),
        ({"use_qalora": True}, "use_qalora is True; known is False"),
        ({"trainable_token_indices": [1]}, r"trainable_token_indices is \[1\]; it must be absent; single rows"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"alora_invocation_tokens": [5]}, "alora_invocation_tokens .* it decides while the model runs"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights is 'pissa_niter_4'.*path_initial_model_for_weight"),
        ({"use_rlora": True}, "does not know the key 'use_rlora'; did you mean 'use_rslora'"),
        ({"target_modules": "layers.(1"}, "missing \\), unterminated subpattern"),
        ({"target_modules": {"qkv_proj": 1}}, "target_modules is .*expected names of modules"),
        ({"r": 0}, "r is 0, expected a whole number above 0"),
        ({"lora_alpha": "much"}, "lora_alpha is 'much', expected a number above 0"),
        ({"rank_pattern": [4]}, "rank_pattern is .*expected an object"),
        ({"rank_pattern": {"(": 4}}, r"rank_pattern: '\(' is no regular expression: missing \)"),
        ({"rank_pattern": {"(([a-z_.0-9])*)*X": 4}}, "rank_pattern fits no module"),
        ({"alpha_pattern": {"*": 4}}, r"alpha_pattern: '\*' is no regular expression: nothing to repeat"),
        ({"modules_to_save": ["("]}, r"modules_to_save: '\(' is no regular expression"),
        ({"layers_to_transform": [0], "layers_pattern": "("}, r"layers_pattern: '\(' is no regular expression"),
        ({"layers_to_transform": [0], "layers_pattern": "(h)"}, r"layers_pattern has a group.*'\(h\)'"),
        ({"layers_pattern": ["layers"]}, "layers_pattern is set without layers_to_transform"),
        ({"rank_pattern": {"qkv": 4}}, "rank_pattern fits no module of the base model: qkv"),
        ({"alpha_pattern": {"fc1": 3, "q_prj": 3}}, "alpha_pattern fits no module of the base model: q_prj"),
        ({"layers_to_transform": [-1]}, "expected numbers of layers"),
        ({"bias": "some"}, "bias is 'some', known are none, all, lora_only"),
        ({"r": 8}, r"has factors \[4, 256\] and .*and adapter_config.json says rank 8"),
        ({"use_dora": True}, "use_dora is True, and .* has no magnitude"),
        ({"lora_bias": True}, "lora_bias is True, which is not so for"),
        ({"bias": "lora_only"}, "bias is 'lora_only', and there are none: .*fc1.bias"),
        (
            {"target_modules": ["qkv_proj", "down_proj", "fc1", "o_proj"]},
            "says that these are adapted, and there are no",
        ),
        ({"target_modules": "all-linear"}, "are adapted, and there are no tensors for them: .*, and .* more"),
        ({"layers_to_transform": [0]}, r"does not say is adapted: model.layers.1.mlp.down_proj"),
        ({"exclude_modules": r".*\.1\.self_attn\.qkv_proj"}, f"does not say is adapted: {QKV}"),
        ({"modules_to_save": ["img_projection", "norm"]}, "modules_to_save names what it does not hold: model.norm"),
        ({"modules_to_save": ["img_projection", "score"]}, "modules_to_save names what it does not hold: score"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_configurations(changed: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=problem) as caught:
        merge(write_adapter(tmp_path / "adapter", **changed))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda all_: all_.update({f"{KEY}s.lora_A.weight": torch.ones(1)}),
            f"no weight of the base model: {KEY}s.lora",
        ),
        (lambda all_: all_.update({"base_model.model.score.weight": torch.ones(1)}), "no weight .*score.weight"),
        (lambda all_: all_.pop(f"{KEY}.lora_B.weight"), "has only one of its two factors"),
        (lambda all_: [all_.pop(f"{KEY}.lora_{part}.weight") for part in "AB"], f"no tensors for them: {QKV}"),
        (lambda all_: all_.clear(), "are adapted, and there are no tensors for them"),
        (lambda all_: all_.update({f"{KEY}.lora_B.weight": torch.ones(383, 4)}), r"do not fit .* weight \[384, 128\]"),
        (lambda all_: all_.update({f"{KEY}.lora_A.weight": torch.ones(4, 4, dtype=torch.int8)}), "is int8, expected a"),
        (
            lambda all_: all_.update({"base_model.model.model.embed_tokens.weight": torch.ones(642, 128)}),
            r"is \[642, 128\], and .* \[640, 128\]; if the vocabulary was enlarged: merge it with peft",
        ),
    ],
    ids=[
        "unknown factor",
        "unknown tensor",
        "one factor",
        "no factors",
        "nothing",
        "wrong rows",
        "no float",
        "vocabulary",
    ],
)
def test_tensors(change: Callable[[dict[str, Tensor]], object], problem: str, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    edit(adapter, change)
    with pytest.raises(CheckpointError, match=problem) as caught:
        merge(adapter)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"{KEY}.lora_A.weight", f"{KEY}.lora_A.default.weight"),
        (f"{KEY}.lora_B.weight", f"{KEY}.lora_B.adapter2.weight"),
        (f"{KEY}.lora_A.weight", f"module.{QKV}.lora_A.weight"),
        ("base_model.model.model.norm.weight", "module.model.norm.weight"),
        ("base_model.model.model.norm.weight", "base_model.model.model.norm.modules_to_save.default.weight"),
    ],
)
def test_two_tensors_for_one(first: str, second: str, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    edit(adapter, lambda all_: all_.update({first: all_.get(first, torch.ones(128)), second: torch.ones(4, 4)}))
    with pytest.raises(CheckpointError) as caught:
        merge(adapter)
    names = {name.rstrip(";") for name in str(caught.value).split()}
    assert {first, second} <= names and "are one tensor by their names" in str(caught.value)


def test_two_names_of_one_weight(tmp_path: Path) -> None:
    """As before and since transformers 4.52."""
    adapter = write_adapter(tmp_path / "adapter", modules_to_save=None)
    base = Base({"w": TensorInfo("float32", (2,))}, WeightRules(rename={"new": "w", "old": "w"}), (), frozenset())
    safetensors.torch.save_file({"new": torch.ones(2), "old": torch.ones(2)}, adapter / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="new and old are one tensor by their names"):
        plan(Adapter(adapter), base)


def test_no_kind(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    del config["peft_type"]
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="peft_type is missing"):
        Adapter(adapter)


def test_an_adapter_that_changes_nothing(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", target_modules=["query_key_value"], modules_to_save=None)
    edit(adapter, lambda all_: all_.clear())
    with pytest.raises(CheckpointError, match="changes no weight of the base model"):
        merge(adapter)


def test_tied_weights_are_not_changed_alone(tmp_path: Path) -> None:
    checkpoint = FolderCheckpoint(TINY)
    checkpoint.config = {**checkpoint.config, "tie_word_embeddings": True}
    adapter = write_adapter(tmp_path / "adapter")
    edit(adapter, lambda all_: all_.update({"base_model.model.lm_head.weight": torch.ones(640, 128)}))
    with pytest.raises(CheckpointError, match=r"changes lm_head.weight, which shares its numbers with another"):
        weights_of(adapted(checkpoint, adapter))


def test_no_folder_and_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: no such folder; --adapter takes one"):
        Adapter(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="holds no PEFT adapter"):
        Adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(CheckpointError, match=r"has neither adapter_model.safetensors nor adapter_model.bin"):
        Adapter(tmp_path)


def test_pickled_tensors_are_read_as_data(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    content = Adapter(adapter).content
    tensors = safetensors.torch.load_file(adapter / "adapter_model.safetensors")
    torch.save(tensors, adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    assert Adapter(adapter).content == content
    torch.save({"model": SimpleNamespace()}, adapter / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="or holds code"):
        Adapter(adapter)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module.base_model.model.base_model.model."])
def test_several_prefixes_and_names_of_adapters(prefix: str, tmp_path: Path) -> None:
    """State dicts that were saved without peft's own method."""
    adapter, plain = write_adapter(tmp_path / "adapter"), write_adapter(tmp_path / "plain")
    path = adapter / "adapter_model.safetensors"
    tensors = {
        key.replace("base_model.model.", prefix)
        .replace(".weight", ".default.weight" if "lora_" in key else ".weight")
        .replace("img_projection.", "img_projection.modules_to_save.default."): tensor
        for key, tensor in safetensors.torch.load_file(path).items()
    }
    safetensors.torch.save_file(tensors, path)
    sources = [weights_of(adapted(FolderCheckpoint(TINY), folder)) for folder in (adapter, plain)]
    for name in sources[0].infos:
        ours, theirs = (source.read(name) for source in sources)
        assert isinstance(ours, Tensor) and isinstance(theirs, Tensor) and torch.equal(ours, theirs), name


@pytest.mark.parametrize(
    ("base", "revision", "name", "problem"),
    [
        (PUBLISHED, None, PUBLISHED, None),
        (PUBLISHED.lower(), None, PUBLISHED, None),
        ("microsoft/Phi-3.5-vision-instruct", None, PUBLISHED, "give --checkpoint microsoft/Phi-3.5-vision-instruct"),
        (PUBLISHED, "a" * 40, PUBLISHED, f"revision is a*, and .*@{'a' * 40}"),
        (PUBLISHED, "main", PUBLISHED, None),
    ],
)
def test_adapters_of_other_hub_checkpoints(
    base: str, revision: str | None, name: str, problem: str | None, tmp_path: Path
) -> None:
    adapter = Adapter(write_adapter(tmp_path / "adapter", base_model_name_or_path=base, revision=revision))
    checkpoint = FolderCheckpoint(TINY, name=name, revision="b" * 40)
    if problem is None:
        assert compare_base(adapter, checkpoint) is None
        return
    with pytest.raises(CheckpointError, match=problem):
        compare_base(adapter, checkpoint)


def test_every_key_that_is_read_is_in_the_list(tmp_path: Path) -> None:
    """And every key of a configuration that peft 0.21 writes."""
    written = json.loads((Path(__file__).parents[2] / "golden/peft_lora/dora/adapter_config.json").read_text())
    assert written.keys() <= RULES.keys()
    found = AdapterConfig.read(write_adapter(tmp_path / "adapter"))
    assert (found.rank, found.alpha, found.targets, found.layers) == (4, 6.0, ("qkv_proj", "down_proj", "fc1"), None)
