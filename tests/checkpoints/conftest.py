"""A small checkpoint folder that tests may damage, and its tensors."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

TENSORS = {
    "model.embed_tokens.weight": np.arange(12, dtype=np.float32).reshape(4, 3),
    "model.norm.weight": np.ones(3, np.float32),
    "lm_head.weight": np.arange(12, dtype=np.float16).reshape(4, 3),
}


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    """What the folder's weights are."""
    return dict(TENSORS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """config.json, processor files and one model.safetensors."""
    path = tmp_path / "checkpoint"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "phi3_v"}))
    (path / "preprocessor_config.json").write_text("{}")
    (path / "tokenizer.json").write_text("{}")
    safetensors.numpy.save_file(TENSORS, path / "model.safetensors")
    return path


@pytest.fixture
def shard(folder: Path) -> Callable[[], Path]:
    """Turns the folder into one with two shards and an index."""

    def split() -> Path:
        (folder / "model.safetensors").unlink()
        weight_map = {}
        for number, keys in enumerate((list(TENSORS)[:2], list(TENSORS)[2:]), 1):
            name = f"model-{number:05}-of-00002.safetensors"
            safetensors.numpy.save_file({key: TENSORS[key] for key in keys}, folder / name)
            weight_map |= dict.fromkeys(keys, name)
        index = {"metadata": {"total_size": 84}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        return folder

    return split
