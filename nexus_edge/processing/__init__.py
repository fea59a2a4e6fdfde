"""Images and text to the tensors that a model reads: numpy, Pillow and tokenizers, no torch.

What a family does with them is in its folder of `nexus_edge/models/`.
"""

from os import PathLike
from pathlib import Path

from nexus_edge._arguments import require_path
from nexus_edge._typed import suggest
from nexus_edge.errors import CheckpointError
from nexus_edge.families import families, family_of
from nexus_edge.interfaces.family import DualEncoderFamily, Family, Kind, VlmFamily
from nexus_edge.interfaces.processor import DualProcessor, ModelInputs, Processor
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.open_clip_folder import OPEN_CLIP_CONFIG

__all__ = [
    "DualProcessor",
    "ModelInputs",
    "Processor",
    "dual_from_checkpoint",
    "family_in",
    "from_checkpoint",
    "open_any",
]

CONFIGS = (OPEN_CLIP_CONFIG, "config.json")
"""Files that say which family a checkpoint is of; the first that is there counts."""


def from_checkpoint(path: str | PathLike[str]) -> Processor:
    """The processor of a checkpoint folder, or of a bundle (then its `processor/` folder is read).

    Raises CheckpointError if a file is missing or wrong, or if no family here has the folder's `model_type`; of a dual
    encoder too, for which there is `dual_from_checkpoint`. Raises InputError if `path` is empty or no path.
    """
    folder, family = _open(require_path("path", path))
    if not isinstance(family, VlmFamily):
        raise _no_processor(folder, family, "vlm")
    return family.processor(folder)


def dual_from_checkpoint(path: str | PathLike[str]) -> DualProcessor:
    """As `from_checkpoint`, for the models that embed images and texts apart."""
    folder, family = _open(require_path("path", path))
    if not isinstance(family, DualEncoderFamily):
        raise _no_processor(folder, family, "dual_encoder")
    return family.processor(folder)


def open_any(folder: Path) -> Processor | DualProcessor:
    """The processor of a checkpoint folder, of whatever family; raises as `from_checkpoint`."""
    folder, family = _open(folder)
    return family.processor(folder)


def family_in(folder: Path) -> Family:
    """The family of a checkpoint or processor folder; raises CheckpointError."""
    name = next((name for name in CONFIGS if (folder / name).is_file()), CONFIGS[-1])
    return family_of(read_json(folder, name), str(folder))


def _open(folder: Path) -> tuple[Path, Family]:
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; give a checkpoint folder or a bundle")
    if (folder / "manifest.json").is_file():
        folder = folder / "processor"
    return folder, family_in(folder)


def _no_processor(folder: Path, family: Family, wanted: Kind) -> CheckpointError:
    known = [name for name, other in families().items() if other.kind == wanted]
    hint = suggest(family.model_type, known)
    return CheckpointError(f"{folder}: its model_type {family.model_type!r} has no processor of this kind{hint}")
