"""Git LFS pointers: what a clone without git-lfs has in place of every large file.

Format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from collections.abc import Iterable
from pathlib import Path

from nexus_edge.errors import CheckpointError

BEGINNING = b"version https://git-lfs.github.com/spec/"
MAX_BYTES = 1024  # a pointer is shorter, by the specification


def is_pointer(path: Path) -> bool:
    """Whether a file is a pointer; a file that cannot be read is none."""
    try:
        if path.stat().st_size >= MAX_BYTES:
            return False
        with path.open("rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False


def refuse_pointers(folder: Path, patterns: Iterable[str]) -> None:
    """Raise CheckpointError, naming all of them, if files of a folder that match glob patterns are pointers."""
    names = sorted(path.name for pattern in patterns for path in folder.glob(pattern) if is_pointer(path))
    if names:
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        raise CheckpointError(
            f"{folder}: {', '.join(names[:4])}{more}: Git LFS pointer, not the file itself; "
            "run git lfs install and git lfs pull in that folder, or download it again"
        )
