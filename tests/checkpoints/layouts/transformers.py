"""As transformers lays a checkpoint out."""

from pathlib import Path

from first_layers import copy


def write(folder: Path) -> None:
    """A checkpoint in a new folder, its weights by the package safetensors."""
    copy("llava_next_tiny", folder)
