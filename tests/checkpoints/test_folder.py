"""Checkpoint folders: one file, shards, and everything that can be wrong with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from nexus_edge.checkpoints import FolderCheckpoint, require_model_type
from nexus_edge.errors import CheckpointError

INDEX = "model.safetensors.index.json"


Tensors = dict[str, np.ndarray]


def assert_complete(checkpoint: FolderCheckpoint, tensors: Tensors) -> None:
    assert set(checkpoint.keys()) == set(tensors)
    for key, tensor in tensors.items():
        assert np.array_equal(checkpoint.read(key), tensor)
        assert np.array_equal(checkpoint.rows(key, 1, 3), tensor[1:3])
        checkpoint.release(key)


def test_one_file_and_shards_give_the_same_tensors(folder: Path, shard: Callable[[], Path], tensors: Tensors) -> None:
    assert_complete(FolderCheckpoint(folder), tensors)
    assert_complete(FolderCheckpoint(shard()), tensors)


def test_shards_may_be_links_as_in_the_hubs_cache(tmp_path: Path, shard: Callable[[], Path], tensors: Tensors) -> None:
    folder = shard()
    for path in list(folder.glob("*.safetensors")):
        path.symlink_to(path.rename(tmp_path / path.name))
    assert_complete(FolderCheckpoint(folder), tensors)


def test_kind_is_real_unless_the_config_says_otherwise(folder: Path) -> None:
    assert FolderCheckpoint(folder).kind == "real"
    (folder / "config.json").write_text(json.dumps({"_nexus_edge_weights": "synthetic"}))
    assert FolderCheckpoint(folder).kind == "synthetic"
    (folder / "config.json").write_text(json.dumps({"_nexus_edge_weights": "genuine"}))
    with pytest.raises(CheckpointError, match="'genuine', expected one of real, trained-tiny, synthetic"):
        FolderCheckpoint(folder)


def edit_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    index = json.loads((folder / INDEX).read_text())
    change(index)
    (folder / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize(
    "place", ["../model-00001-of-00002.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "a\\b", None, 3]
)
def test_shard_outside_the_folder_is_refused(place: object, shard: Callable[[], Path]) -> None:
    folder = shard()
    edit_index(folder, lambda index: index["weight_map"].update({"lm_head.weight": place}))
    with pytest.raises(CheckpointError, match=r"'lm_head\.weight' lies in .*, which is not a file of this folder"):
        FolderCheckpoint(folder)


def test_missing_shard_is_named_with_a_tensor_that_needs_it(shard: Callable[[], Path]) -> None:
    folder = shard()
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors: missing, .*'lm_head\.weight'"):
        FolderCheckpoint(folder)


def test_truncated_shard_is_named(shard: Callable[[], Path]) -> None:
    path = shard() / "model-00001-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002\.safetensors: tensor .* truncated"):
        FolderCheckpoint(path.parent)


def test_tensor_that_its_shard_lacks_is_named(shard: Callable[[], Path]) -> None:
    folder = shard()
    edit_index(folder, lambda index: index["weight_map"].update({"extra": "model-00001-of-00002.safetensors"}))
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002\.safetensors: lacks tensor 'extra'"):
        FolderCheckpoint(folder)


def test_tensor_that_the_index_forgot_is_still_found(shard: Callable[[], Path], tensors: Tensors) -> None:
    folder = shard()
    edit_index(folder, lambda index: index["weight_map"].pop("model.norm.weight"))
    assert_complete(FolderCheckpoint(folder), tensors)


@pytest.mark.parametrize("weight_map", [None, {}, [], "x"])
def test_index_without_a_map_is_refused(weight_map: object, shard: Callable[[], Path]) -> None:
    folder = shard()
    edit_index(folder, lambda index: index.update(weight_map=weight_map))
    with pytest.raises(CheckpointError, match="weight_map is missing or empty"):
        FolderCheckpoint(folder)


@pytest.mark.parametrize(
    ("leftover", "message"),
    [
        ("pytorch_model.bin", "save them as safetensors"),
        ("consolidated.00.pth", "save them as safetensors"),
        ("model.pt", "save them as safetensors"),
        ("adapter_model.safetensors", "PEFT adapter and no model; give its base model with --checkpoint"),
        ("notes.txt", "neither model.safetensors nor model.safetensors.index.json; download the weights too"),
        ("model-00001-of-00002.safetensors", "and no model.safetensors.index.json, which says what lies where"),
        ("model.Q4_K_M.gguf", "model.Q4_K_M.gguf, weights that llama.cpp quantized; export from the original"),
        ("consolidated.safetensors", "consolidated.safetensors, .* rename it to model.safetensors, else save"),
        ("model.fp16.safetensors", "model.fp16.safetensors, and neither"),
    ],
)
def test_folder_without_safetensors_says_what_to_do(leftover: str, message: str, folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / leftover)
    with pytest.raises(CheckpointError, match=message):
        FolderCheckpoint(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"{", "not valid JSON"), (b"[]", "JSON list"), (b"\xff", "not valid JSON")],
)
def test_unusable_config_is_named(content: bytes | None, message: str, folder: Path) -> None:
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{message}"):
        FolderCheckpoint(folder)


def test_processor_files_are_read_and_a_missing_one_is_named(folder: Path) -> None:
    (folder / "special_tokens_map.json").write_text("{}")
    checkpoint = FolderCheckpoint(folder)
    assert set(checkpoint.processor_files()) == {
        "config.json", "preprocessor_config.json", "tokenizer.json", "special_tokens_map.json"
    }  # fmt: skip
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json; copy it"):
        checkpoint.processor_files()


def test_another_model_is_refused_by_its_type(folder: Path) -> None:
    require_model_type(FolderCheckpoint(folder), "phi3_v")
    (folder / "config.json").write_text(json.dumps({"model_type": "llava_next"}))
    with pytest.raises(CheckpointError, match="model_type 'llava_next', expected 'phi3_v'"):
        require_model_type(FolderCheckpoint(folder), "phi3_v")


def test_a_tensor_in_two_shards_is_refused(shard: Callable[[], Path], tensors: Tensors) -> None:
    folder = shard()
    path = folder / "model-00001-of-00002.safetensors"
    both = {**safetensors.numpy.load_file(path), "lm_head.weight": np.zeros((4, 3), np.float16)}
    safetensors.numpy.save_file(both, path)
    with pytest.raises(
        CheckpointError, match=r"model-00002-of-00002.safetensors: holds 'lm_head.weight', as model-00001"
    ):
        FolderCheckpoint(folder)


@pytest.mark.parametrize("name", ["model-00003-of-00003.safetensors", "model-00002-of-00004.safetensors"])
def test_a_shard_of_another_checkpoint_is_named(name: str, shard: Callable[[], Path]) -> None:
    folder = shard()
    safetensors.numpy.save_file({"model.norm.weight": np.zeros(3, np.float16)}, folder / name)
    with pytest.raises(CheckpointError, match=f"{name}: {INDEX} does not name it"):
        FolderCheckpoint(folder)


@pytest.mark.parametrize("other", [INDEX, "model-00001-of-00002.safetensors"])
def test_shards_beside_a_single_file_are_refused(other: str, shard: Callable[[], Path], tensors: Tensors) -> None:
    folder = shard()
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    for path in [*folder.glob("model-*"), folder / INDEX]:
        if path.name != other:
            path.unlink()
    with pytest.raises(CheckpointError, match=f"holds model.safetensors and {other}, two sets of weights"):
        FolderCheckpoint(folder)
    (folder / other).unlink()
    (folder / "consolidated.safetensors").write_bytes(b"")  # as Mistral publishes the same weights in another layout
    assert_complete(FolderCheckpoint(folder), tensors)
