"""Pictures and text to the tensors that a model reads: numpy, Pillow and tokenizers, no torch.

A family is one file here, named after the checkpoint's `model_type`, with one line in `PROCESSORS`.
"""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TypeVar

from nexus_edge._fields import suggest
from nexus_edge.errors import CheckpointError
from nexus_edge.processing.base import DualProcessor, ModelInputs, Processor
from nexus_edge.processing.biomedclip import OPEN_CLIP_CONFIG, BiomedClipProcessor
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.phi3_v import Phi3VProcessor

__all__ = [
    "DUAL_PROCESSORS",
    "PROCESSORS",
    "BiomedClipProcessor",
    "DualProcessor",
    "ModelInputs",
    "Phi3VProcessor",
    "Processor",
    "dual_from_checkpoint",
    "from_checkpoint",
    "model_type_of",
    "open_any",
]

T = TypeVar("T")

PROCESSORS: dict[str, Callable[[Path], Processor]] = {
    "phi3_v": Phi3VProcessor.from_folder,
}
DUAL_PROCESSORS: dict[str, Callable[[Path], DualProcessor]] = {
    "biomedclip": BiomedClipProcessor.from_folder,
}


def from_checkpoint(path: str | PathLike[str]) -> Processor:
    """The processor of a checkpoint folder, or of a bundle (then its `processor/` folder is read).

    Raises CheckpointError if a file is missing or wrong, or if no family here has the folder's `model_type`; of a dual
    encoder too, for which there is `dual_from_checkpoint`.
    """
    return _load(Path(path), PROCESSORS)


def dual_from_checkpoint(path: str | PathLike[str]) -> DualProcessor:
    """As `from_checkpoint`, for the models that embed pictures and texts apart."""
    return _load(Path(path), DUAL_PROCESSORS)


def open_any(folder: Path) -> Processor | DualProcessor:
    """The processor of a checkpoint folder, of whatever family; raises as `from_checkpoint`."""
    families: dict[str, Callable[[Path], Processor | DualProcessor]] = {**PROCESSORS, **DUAL_PROCESSORS}
    return _load(folder, families)


def model_type_of(folder: Path) -> str:
    """The `model_type` of a checkpoint or processor folder; open_clip's own config has none. Raises CheckpointError."""
    if (folder / OPEN_CLIP_CONFIG).is_file():
        return "biomedclip"
    return str(read_json(folder, "config.json").get("model_type"))


def _load(folder: Path, families: Mapping[str, Callable[[Path], T]]) -> T:
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; give a checkpoint folder or a bundle")
    if (folder / "manifest.json").is_file():
        folder = folder / "processor"
    model_type = model_type_of(folder)
    if model_type not in families:
        raise CheckpointError(
            f"{folder}: its model_type {model_type!r} has no processor{suggest(model_type, families)}"
        )
    return families[model_type](folder)
