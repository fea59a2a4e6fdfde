"""A folder in the layout of open_clip: which file is its configuration, and where its tokenizer is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_edge.errors import CheckpointError
from nexus_edge.processing.folder import named_folder

OPEN_CLIP_CONFIG = "open_clip_config.json"


def tokenizer_folder(folder: Path, config: Mapping[str, Any]) -> Path:
    """Where a checkpoint keeps its tokenizer.json or vocab.txt: `folder` itself, or the one inside it that it names.

    `config` is the content of open_clip_config.json. Files that are missing are for the reader to report.
    """
    if any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        return folder
    source = str(folder / OPEN_CLIP_CONFIG)
    text = section(section(config, "model_cfg", source), "text_cfg", source)
    return named_folder(folder, str(text.get("hf_tokenizer_name", ""))) or folder


def section(config: Mapping[str, Any], key: str, source: str) -> Mapping[str, Any]:
    """The JSON object under `key`, empty if it is absent; raises CheckpointError."""
    value = config.get(key) or {}
    if not isinstance(value, dict):
        raise CheckpointError(f"{source}: {key} is a {type(value).__name__}, expected an object; download it again")
    return value
