"""What a config.json may say besides the published numbers goes through export and ladder: graphs, and their runtimes.

That a number is read rightly, and that it changes the reference's answer, is checked elsewhere (tests/models). Here
each must reach the graphs: the golden weights with fewer layers and several changed keys at once, exported in int4.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden_phi3
import pytest
import safetensors.torch
import torch

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import FolderCheckpoint
from nexus_edge.parity.ladder import prepare, run
from nexus_edge.parity.report.report import Report
from nexus_edge.pipeline.export import export
from nexus_edge.recipe import find_recipe

pytestmark = pytest.mark.slow

Config = dict[str, Any]
LAYERS, TOWER_LAYERS = 1, 2


def tied_yarn(config: Config) -> None:
    config["embd_layer"]["hd_transform_order"] = "glb_sub"
    config["tie_word_embeddings"] = True
    config["rope_scaling"]["type"] = "yarn"


def new_spelling_of_rope(config: Config) -> None:
    del config["embd_layer"]["hd_transform_order"]  # the authors' code takes glb_sub then
    config["img_processor"]["layer_idx"] = -1
    config["hidden_act"] = config["_golden_clip_vision_config"]["hidden_act"] = "gelu"
    table = config.pop("rope_scaling")
    table |= {"rope_type": "longrope", "rope_theta": 500000.0, "short_mscale": 1.1, "long_mscale": 1.3}
    del table["type"], config["rope_theta"]
    config["rope_parameters"] = table


def plain_rope(config: Config) -> None:
    config["img_processor"]["layer_idx"] = 1
    config["hidden_act"] = "relu"
    config["sliding_window"] = 20
    del config["rope_scaling"], config["original_max_position_embeddings"]


def one_head_of_keys(config: Config) -> None:
    config["num_key_value_heads"] = 1


VARIANTS: list[Callable[[Config], None]] = [tied_yarn, new_spelling_of_rope, plain_rope]


def write_checkpoint(folder: Path, change: Callable[[Config], None]) -> FolderCheckpoint:
    """The golden weights with fewer layers and the changed configuration."""
    golden_phi3.write_checkpoint(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["num_hidden_layers"] = LAYERS
    config["_golden_clip_vision_config"]["num_hidden_layers"] = TOWER_LAYERS
    change(config)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    kept = {
        name: _with_fewer_keys(tensor, config) if name.endswith("qkv_proj.weight") else tensor
        for name, tensor in tensors.items()
        if _is_kept(name, tied="tie" in change.__name__)
    }
    safetensors.torch.save_file(kept, folder / "model.safetensors")
    return FolderCheckpoint(folder)


def _with_fewer_keys(fused: torch.Tensor, config: Config) -> torch.Tensor:
    """All heads of the query, and as many of key and value as the configuration asks for."""
    head_dim = config["hidden_size"] // config["num_attention_heads"]
    query = config["num_attention_heads"] * head_dim
    keys, values = fused[query:].chunk(2)
    wanted = config["num_key_value_heads"] * head_dim
    return torch.cat((fused[:query], keys[:wanted], values[:wanted]))


def _is_kept(name: str, *, tied: bool) -> bool:
    number = next((int(part) for part in name.split(".") if part.isdigit() and "img_projection" not in name), 0)
    if tied and name.startswith("lm_head"):
        return False  # files of tied models have no head
    return number < (TOWER_LAYERS if "vision_model" in name else LAYERS)


def ladder(change: Callable[[Config], None], targets: tuple[str, ...], rungs: tuple[str, ...], folder: Path) -> Report:
    checkpoint = write_checkpoint(folder / "checkpoint", change)
    recipe = find_recipe("phi3-vision", "int4").with_targets(targets)
    export(checkpoint, recipe, folder / "bundle", parity=False)
    return run(prepare(Bundle.open(folder / "bundle"), checkpoint), rungs)


def require_passed(report: Report, rungs: tuple[str, ...]) -> None:
    found = {(rung.name, target): rung.status_of(target) for rung in report.rungs for target in report.targets}
    assert found == {(name, target): "passed" for name in rungs for target in report.targets}, report.reason


@pytest.mark.parametrize("change", VARIANTS)
def test_a_variant_passes_the_ladder(change: Callable[[Config], None], tmp_path: Path) -> None:
    rungs = ("P0", "P1", "P2", "P3")
    require_passed(ladder(change, ("onnx",), rungs, tmp_path), rungs)


@pytest.mark.parametrize("target", ["openvino", "coreml"])
def test_the_global_view_first_in_every_format(target: str, tmp_path: Path) -> None:
    if target == "coreml":
        pytest.importorskip("coremltools", reason="needs the extra `coreml`")
    rungs = ("P0", "P3")
    require_passed(ladder(tied_yarn, (target,), rungs, tmp_path), rungs)


@pytest.mark.parametrize("target", ["onnx", "openvino", "coreml"])
def test_heads_that_share_keys_in_every_format(target: str, tmp_path: Path) -> None:
    """The published models have as many heads of keys as of queries; a fine-tune of a smaller one need not."""
    if target == "coreml":
        pytest.importorskip("coremltools", reason="needs the extra `coreml`")
    rungs = ("P0", "P3")
    require_passed(ladder(one_head_of_keys, (target,), rungs, tmp_path), rungs)
