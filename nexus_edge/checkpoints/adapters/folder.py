"""What a folder with a PEFT adapter is recognised by."""

from pathlib import Path

from nexus_edge.checkpoints.json_file import read_json

CONFIG = "adapter_config.json"
SAFETENSORS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"


def adapter_files(folder: Path) -> list[Path]:
    """The files of a folder that an adapter is read from, there or not."""
    return [folder / name for name in (CONFIG, SAFETENSORS, PICKLED)]


def holds_adapter(folder: Path) -> bool:
    """Whether a folder has an adapter's configuration or weights."""
    return (folder / CONFIG).is_file() or any(folder.glob("adapter_model.*"))


def adapter_in_words(folder: Path) -> str:
    """For a folder that was taken for a checkpoint: what it is, and what to do."""
    base = read_json(folder / CONFIG).get("base_model_name_or_path") if (folder / CONFIG).is_file() else None
    named = isinstance(base, str) and base
    return (
        f"holds a PEFT adapter{f' of {base!r:.100}' if named else ''} and no model; give its base model with "
        f"--checkpoint{f' {base:.100}' if named else ' DIR'}, and this folder with --adapter"
    )
