"""Where tensors come from: a folder, the hub, an embedded checkpoint, or a generator of synthetic weights.

`open_checkpoint` returns a `Checkpoint`; `StreamingSafetensorsWriter` is the way out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from nexus_edge._resources import embedded_checkpoint
from nexus_edge._typed import suggest
from nexus_edge.checkpoints.adapters.adapter import Adapter
from nexus_edge.checkpoints.adapters.belonging import compare_base
from nexus_edge.checkpoints.base import Checkpoint, TensorInfo, WeightsKind
from nexus_edge.checkpoints.folder import FolderCheckpoint
from nexus_edge.checkpoints.formats import recognised
from nexus_edge.checkpoints.hub import HUB_ID, open_hub
from nexus_edge.checkpoints.keys import check_keys, require_model_type
from nexus_edge.checkpoints.synthetic import SyntheticCheckpoint
from nexus_edge.errors import CheckpointError
from nexus_edge.families import families
from nexus_edge.storage.finite import check_finite
from nexus_edge.storage.reader import SafetensorsFile, load_tensors
from nexus_edge.storage.writer import StreamingSafetensorsWriter, write_tensors

__all__ = [
    "Checkpoint",
    "FolderCheckpoint",
    "SafetensorsFile",
    "StreamingSafetensorsWriter",
    "SyntheticCheckpoint",
    "TensorInfo",
    "WeightsKind",
    "adapted",
    "check_finite",
    "check_keys",
    "load_tensors",
    "named_path",
    "open_checkpoint",
    "published",
    "published_numbers",
    "require_model_type",
    "tiny_folder",
    "write_tensors",
]


Opened = TypeVar("Opened", bound=FolderCheckpoint | SyntheticCheckpoint)


@dataclass(frozen=True)
class Published:
    """A published model, and what can take the place of its weights.

    Attributes:
        model_type: of the model; its embedded checkpoint is named after it
        numbers: the file whose numbers synthetic weights follow
    """

    model_type: str
    numbers: Path


@cache
def published() -> Mapping[str, Published]:
    """Hub id -> published model, of all families."""
    return {
        hub_id: Published(family.model_type, family.published_folder / f"{name}.json")
        for family in families().values()
        for hub_id, name in family.published.items()
    }


def published_numbers(name: str) -> Path:
    """The file with the numbers of a published model, such as `phi3_vision`; raises CheckpointError."""
    known = {model.numbers.stem: model.numbers for model in published().values()}
    if name not in known:
        raise CheckpointError(f"no published numbers are called {name!r}{suggest(name, known)}")
    return known[name]


def tiny_folder(model_type: str = "phi3_v") -> Path:
    """The embedded checkpoint of a family, trained in this repository; raises MissingExtraError."""
    return embedded_checkpoint(model_type)


def open_checkpoint(
    spec: str | None, default_hub_id: str, ignored: Sequence[str] = (), adapter: Path | None = None
) -> Checkpoint:
    """Open what `--checkpoint` names, and the adapter that `--adapter` names.

    Args:
        spec: a folder, a hub id (`owner/name` or `owner/name@revision`), `tiny`, `synthetic`, or None for the
            default. A folder that exists wins over a hub id of the same name.
        default_hub_id: the published model that was asked for; `tiny` is of its family, `synthetic` has its numbers.
        ignored: keys of its configuration files to leave out, by their dotted paths.
        adapter: a folder that PEFT saved

    Raises:
        CheckpointError: nothing usable is there, or the adapter is of another model.
        MissingExtraError: a download without huggingface_hub.
    """
    return adapted(_open(spec, default_hub_id, ignored), adapter)


def adapted(checkpoint: Opened, adapter: Path | None) -> Opened:
    """The same with an adapter, which a model then sees merged into it.

    Raises:
        CheckpointError: it cannot be read or merged, or is of another model
    """
    if adapter is not None:
        checkpoint.adapter = Adapter(adapter)
        compare_base(checkpoint.adapter, checkpoint)
    return checkpoint


def _open(spec: str | None, default_hub_id: str, ignored: Sequence[str]) -> FolderCheckpoint | SyntheticCheckpoint:
    if spec in ("tiny", "synthetic"):
        if default_hub_id not in published():
            raise CheckpointError(f"no {spec} weights for {default_hub_id}; known: {', '.join(published())}")
        model = published()[default_hub_id]
        embedded = tiny_folder(model.model_type)
        if spec == "tiny":
            return FolderCheckpoint(embedded, name="tiny", ignored=ignored)
        return SyntheticCheckpoint(model.numbers, embedded)
    if spec is None:
        return open_hub(default_hub_id, ignored)
    path = named_path(spec)
    if path is not None and (path.is_dir() or recognised(path)):
        return FolderCheckpoint(path, ignored=ignored)
    if path is not None:
        raise CheckpointError(f"{path}: is a file; give the folder that holds it together with config.json")
    if HUB_ID.fullmatch(spec):
        return open_hub(spec, ignored)
    raise CheckpointError(f"{spec!r:.300}: no such folder, and not a hub id (owner/name)")


def named_path(spec: str) -> Path | None:
    """What stands at the path that `--checkpoint` names, None if nothing does, or if it is no path.

    Raises:
        CheckpointError: the name is empty, as of a shell's variable that is not set, or a link leads nowhere
    """
    if not spec:
        raise CheckpointError("the checkpoint's name is empty; give a folder, a hub id, tiny or synthetic")
    try:
        path = Path(spec).expanduser()
        if path.is_symlink() and not path.exists():
            raise CheckpointError(f"{path}: is a link that leads nowhere; give the checkpoint's folder itself")
        return path if path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long; a null in it; ~name of nobody
        return None
