"""Where tensors come from: a folder, the hub, the embedded checkpoint, or a generator of synthetic weights.

`open_checkpoint` returns a `Checkpoint`; `StreamingSafetensorsWriter` is the way out.
"""

from importlib.resources import files
from pathlib import Path

from nexus_edge.checkpoints.base import Checkpoint, TensorInfo, WeightsKind
from nexus_edge.checkpoints.finite import check_finite
from nexus_edge.checkpoints.folder import FolderCheckpoint
from nexus_edge.checkpoints.hub import HUB_ID, open_hub
from nexus_edge.checkpoints.keys import KeyRules, check_keys, require_model_type
from nexus_edge.checkpoints.safetensors import SafetensorsFile, load_tensors
from nexus_edge.checkpoints.synthetic import SyntheticCheckpoint
from nexus_edge.checkpoints.writer import StreamingSafetensorsWriter, write_tensors
from nexus_edge.errors import CheckpointError

__all__ = [
    "Checkpoint",
    "FolderCheckpoint",
    "KeyRules",
    "SafetensorsFile",
    "StreamingSafetensorsWriter",
    "SyntheticCheckpoint",
    "TensorInfo",
    "WeightsKind",
    "check_finite",
    "check_keys",
    "load_tensors",
    "open_checkpoint",
    "require_model_type",
    "tiny_folder",
    "write_tensors",
]

# The numbers that synthetic weights follow, by the hub id of the model they stand in for.
SYNTHETIC_NUMBERS = {
    "microsoft/Phi-3-vision-128k-instruct": "phi3_vision",
    "microsoft/Phi-3.5-vision-instruct": "phi3_5_vision",
}


def tiny_folder() -> Path:
    """The embedded checkpoint, trained in this repository."""
    return Path(str(files("nexus_edge"))) / "assets" / "tiny_phi3_v"


def open_checkpoint(spec: str | None, default_hub_id: str) -> Checkpoint:
    """Open what `--checkpoint` names.

    Args:
        spec: a folder, a hub id (`owner/name` or `owner/name@revision`), `tiny`, `synthetic`, or None for the
            default. A folder that exists wins over a hub id of the same name.
        default_hub_id: the model that was asked for; `synthetic` takes its numbers.

    Raises:
        CheckpointError: nothing usable is there.
        MissingExtraError: a download without huggingface_hub.
    """
    if spec == "tiny":
        return FolderCheckpoint(tiny_folder(), name="tiny")
    if spec == "synthetic":
        if default_hub_id not in SYNTHETIC_NUMBERS:
            raise CheckpointError(f"no synthetic weights for {default_hub_id}; known: {', '.join(SYNTHETIC_NUMBERS)}")
        return SyntheticCheckpoint(SYNTHETIC_NUMBERS[default_hub_id], tiny_folder())
    if spec is None:
        return open_hub(default_hub_id)
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return FolderCheckpoint(folder)
    if folder.is_file():
        raise CheckpointError(f"{folder}: is a file; give the folder that holds it together with config.json")
    if HUB_ID.fullmatch(spec):
        return open_hub(spec)
    raise CheckpointError(f"{spec}: no such folder, and not a hub id (owner/name)")
