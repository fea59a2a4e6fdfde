"""Which files a checkpoint is read from, so that no output takes the place of one.

A folder as a whole would be too much: `--checkpoint .` has the reports of a CI beside it, and `out/` below.
"""

from pathlib import Path

from nexus_edge.checkpoints.adapters.folder import adapter_files
from nexus_edge.checkpoints.base import Checkpoint
from nexus_edge.checkpoints.formats import format_of
from nexus_edge.checkpoints.license import CARD, FILES


def folder_reads(path: Path) -> list[Path]:
    """The files, there or not, that opening the folder or file `path` as a checkpoint reads; raises CheckpointError."""
    if not path.is_dir():
        return [path]
    return [*format_of(path).reads(path), *(path / name for name in (CARD, *FILES))]


def checkpoint_reads(checkpoint: Checkpoint) -> list[Path]:
    """The same of an opened one, wherever it was found, and of its adapter."""
    found = [] if checkpoint.folder is None else folder_reads(checkpoint.folder)
    adapter = [] if checkpoint.adapter is None else adapter_files(checkpoint.adapter.folder)
    return [*found, *checkpoint.weight_files, *adapter]
