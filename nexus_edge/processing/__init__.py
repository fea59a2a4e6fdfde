"""Pictures and text to the tensors that a model reads: numpy, Pillow and tokenizers, no torch.

A family is one file here, named after the checkpoint's `model_type`, with one line in `PROCESSORS`.
"""

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from nexus_edge._fields import suggest
from nexus_edge.errors import CheckpointError
from nexus_edge.processing.base import ModelInputs, Processor
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.phi3_v import Phi3VProcessor

__all__ = ["PROCESSORS", "ModelInputs", "Phi3VProcessor", "Processor", "from_checkpoint"]

PROCESSORS: dict[str, Callable[[Path], Processor]] = {
    "phi3_v": Phi3VProcessor.from_folder,
}


def from_checkpoint(path: str | PathLike[str]) -> Processor:
    """The processor of a checkpoint folder, or of a bundle (then its `processor/` folder is read).

    Raises CheckpointError if a file is missing or wrong, or if no family here has the folder's `model_type`.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; give a checkpoint folder or a bundle")
    if (folder / "manifest.json").is_file():
        folder = folder / "processor"
    model_type = read_json(folder, "config.json").get("model_type")
    if not isinstance(model_type, str) or model_type not in PROCESSORS:
        hint = suggest(str(model_type), PROCESSORS)
        raise CheckpointError(f"{folder / 'config.json'}: model_type {model_type!r} has no processor{hint}")
    return PROCESSORS[model_type](folder)
