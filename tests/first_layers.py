"""A checkpoint of the first layers of a recorded one: as small as its family can be, for the contract tests."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch

GOLDEN = Path(__file__).parent / "golden"
WEIGHTS = "model.safetensors"
LEFT = shutil.ignore_patterns("images", "inputs.safetensors", "outputs.safetensors", "cases.json", "README.md")
"""What a recording has beside the checkpoint."""

Change = Callable[[dict[str, Any]], object]
"""Of a parsed configuration file, in place."""


def cut(folder: Path, changes: Mapping[str, Change], layers: Mapping[str, int]) -> None:
    """Shorten the checkpoint in a folder.

    Args:
        folder: of the whole one
        changes: configuration file -> what makes it say the smaller numbers
        layers: how the names of a stack's layers begin, up to their number -> how many of them stay
    """
    for name, change in changes.items():
        config = json.loads((folder / name).read_text("utf-8"))
        change(config)
        (folder / name).write_text(json.dumps(config), "utf-8")
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    kept = {
        key: tensor
        for key, tensor in tensors.items()
        if not any(key.startswith(stack) and _number(key, stack) >= count for stack, count in layers.items())
    }
    assert len(kept) < len(tensors), "no layer has a name that begins so"
    safetensors.torch.save_file(kept, folder / WEIGHTS)


def copy(recording: str, folder: Path) -> None:
    """The checkpoint of a recording in tests/golden, in a new folder."""
    shutil.copytree(GOLDEN / recording, folder, ignore=LEFT)


def _number(key: str, stack: str) -> int:
    return int(key.removeprefix(stack).partition(".")[0])
