"""What an export would do: everything that it needs is opened and checked, and nothing is written or downloaded."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nexus_edge._arguments import resolved
from nexus_edge.checkpoints import Checkpoint, SyntheticCheckpoint, adapted, named_path, published, tiny_folder
from nexus_edge.checkpoints.hub import HUB_ID, open_cached
from nexus_edge.errors import CheckpointError
from nexus_edge.pipeline.preflight import check
from nexus_edge.pipeline.request import ExportRequest


@dataclass(frozen=True)
class Origin:
    """The checkpoint that an export reads.

    Attributes:
        place: a folder's absolute path, a hub id, or `synthetic`
        revision: the commit of a hub checkpoint
        cached: whether it is here; one of the hub that is not will be downloaded
        format: of the weights, such as "2 safetensors files"
        dtypes: type -> bytes
    """

    place: str
    revision: str | None
    cached: bool
    format: str
    dtypes: Mapping[str, int]


@dataclass(frozen=True)
class Preview:
    """An export before it happens; sizes in bytes, all of them estimates but `disk_free`.

    Attributes:
        recipe: resolved
        checkpoint: what would be read
        license: as the checkpoint states it; None where it states none
        out: absolute path of the bundle
        ignored_keys: keys of the checkpoint's configuration that are left out
        adapter: absolute path of what is merged into the checkpoint; None: nothing
        sizes: target -> graph -> what it adds to the bundle; 0 where another target's file is linked
        total: of the bundle
        disk_free: on the disk of `out`
        peak_memory: of the export without the ladder
    """

    recipe: Mapping[str, Any]
    checkpoint: Origin
    license: str | None
    out: str
    ignored_keys: tuple[str, ...]
    adapter: str | None
    sizes: Mapping[str, Mapping[str, int]]
    total: int
    disk_free: int
    peak_memory: int

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def preview(request: ExportRequest, *, force: bool = False, calibration: Path | None = None) -> Preview:
    """Check all that the export of `request` needs, the user's samples among it, and say what it would make.

    Raises:
        as `nexus_edge.export`; CheckpointError too for a hub checkpoint that is neither here nor of known numbers
    """
    samples = request.own_calibration(calibration)
    checkpoint, origin = _open(request)
    ready = check(checkpoint, request.recipe, request.out, force=force, calibration=samples)
    return Preview(
        request.recipe.to_json(), origin, ready.license, str(resolved(request.out)), request.ignored_keys,
        None if checkpoint.adapter is None else str(resolved(checkpoint.adapter.folder)),
        ready.sizes, ready.total, ready.free, ready.peak,
    )  # fmt: skip


def _open(request: ExportRequest) -> tuple[Checkpoint, Origin]:
    """The checkpoint; one of the hub that is not here is represented by synthetic weights of its published numbers."""
    spec = request.default_checkpoint if request.checkpoint is None else request.checkpoint
    is_here = spec in ("tiny", "synthetic") or named_path(spec) is not None or not HUB_ID.fullmatch(spec)
    if is_here:
        checkpoint = request.open()
        return checkpoint, _origin(checkpoint, _place(checkpoint))
    cached = open_cached(spec, request.ignored_keys)
    name, _, revision = spec.partition("@")
    if cached is not None:
        return adapted(cached, request.adapter), _origin(cached, name)
    if name not in published():
        raise CheckpointError(
            f"{spec}: is not in the hub's cache, and a dry run downloads nothing; get it first (hf download {name})"
        )
    model = published()[name]
    stand_in = SyntheticCheckpoint(model.numbers, tiny_folder(model.model_type))
    return adapted(stand_in, request.adapter), Origin(
        name, revision or None, False, "safetensors, not downloaded yet", _dtypes(stand_in)
    )


def _origin(checkpoint: Checkpoint, place: str) -> Origin:
    endings = Counter(path.suffix.removeprefix(".") for path in checkpoint.weight_files)
    formats = [f"{count} {ending} file{'s' if count > 1 else ''}" for ending, count in endings.items()]
    return Origin(place, checkpoint.revision, True, ", ".join(formats) or "generated", _dtypes(checkpoint))


def _place(checkpoint: Checkpoint) -> str:
    return checkpoint.name if checkpoint.folder is None else str(resolved(checkpoint.folder))


def _dtypes(checkpoint: Checkpoint) -> dict[str, int]:
    sizes: Counter[str] = Counter()
    for info in checkpoint.keys().values():
        sizes[info.dtype] += info.size
    return dict(sizes)
