"""Git LFS pointers: what a clone without git-lfs has in place of every large file.

Format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from collections.abc import Iterable
from pathlib import Path

from nexus_edge._text import require_regular, without_mark
from nexus_edge.errors import CheckpointError

BEGINNINGS = (
    b"version https://git-lfs.github.com/spec/",
    b"version http://git-media.io/",
    b"version https://hawser.github.com/spec/",
)
"""Today's, and those of the first releases, when it was called Git Media and Hawser."""
MAX_BYTES = 1024  # a pointer is shorter, by the specification


def is_pointer(path: Path) -> bool:
    """Whether a file is a pointer; a file that cannot be read is none."""
    try:
        require_regular(path)
        if path.stat().st_size >= MAX_BYTES:
            return False
        with path.open("rb") as file:
            return without_mark(file.read(MAX_BYTES)).startswith(BEGINNINGS)
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
