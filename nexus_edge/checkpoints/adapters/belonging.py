"""The base model that an adapter says to belong to, beside the checkpoint that is opened."""

import re
from pathlib import Path

from nexus_edge._arguments import resolved
from nexus_edge.checkpoints.adapters.adapter import Adapter
from nexus_edge.checkpoints.adapters.folder import CONFIG
from nexus_edge.checkpoints.base import Checkpoint
from nexus_edge.checkpoints.hub import HUB_ID
from nexus_edge.errors import CheckpointError

_COMMIT = re.compile(r"[0-9a-f]{40}")


class AdapterWarning(UserWarning):
    """It cannot be told whether an adapter belongs to the checkpoint that it is merged into."""


def compare_base(adapter: Adapter, checkpoint: Checkpoint) -> str | None:
    """What is to be said to the user about the two; None where the adapter was trained on this checkpoint.

    Two hub ids that differ are two models. A folder is whatever it is: nothing in it says for certain what it was.

    Raises:
        CheckpointError: the adapter is of another model or another revision
    """
    base, revision = adapter.config.base, adapter.config.revision
    where = f"{adapter.folder / CONFIG}: base_model_name_or_path"
    if base is None:
        return f"{where} is missing: nothing says that the adapter is of {checkpoint.name}"
    if _same_folder(base, checkpoint.folder):
        return None
    is_hub_id = HUB_ID.fullmatch(base) is not None and not Path(base).is_dir()
    of_hub = checkpoint.folder is not None and checkpoint.revision is not None
    if not (is_hub_id and of_hub):
        return f"{where} is {base!r:.200}: it cannot be told whether {checkpoint.name} holds the same weights"
    if base.casefold() != checkpoint.name.casefold():
        raise CheckpointError(
            f"{where} is {base!r:.200}, and the checkpoint is {checkpoint.name}: give --checkpoint {base:.200}; if "
            "they are the same weights, write the checkpoint's name into a copy of that file"
        )
    if revision is not None and _COMMIT.fullmatch(revision) and revision != checkpoint.revision:
        raise CheckpointError(
            f"{adapter.folder / CONFIG}: revision is {revision}, and {checkpoint.name} is at {checkpoint.revision}; "
            f"give --checkpoint {base:.200}@{revision}"
        )
    return None


def _same_folder(base: str, folder: Path | None) -> bool:
    try:
        return folder is not None and resolved(Path(base).expanduser()) == resolved(folder)
    except (OSError, ValueError, RuntimeError):  # it is no path
        return False
