"""SHA-256 of a bundle's files, several at a time, without reading a file into memory."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nexus_edge.bundle.manifest import FileInfo

WORKERS = 2  # hashlib lets go of the interpreter; beyond two, the disk or one large file is the limit


def hash_file(path: Path) -> FileInfo:
    """Size and SHA-256 of one file; raises OSError, which names it."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return FileInfo(file.tell(), digest)
    except OSError as error:
        error.filename = str(path)  # a disk that fails while it is read does not say for whom
        raise


def hash_together(paths: Iterable[Path]) -> str:
    """One SHA-256 (hex) for the contents of several files in their order, see `joined`."""
    return joined(hash_files(paths))


def joined(files: Iterable[FileInfo]) -> str:
    """The same for files whose hashes are known: the SHA-256 of these in a row."""
    return hashlib.sha256("".join(info.sha256 for info in files).encode()).hexdigest()


def hash_files(paths: Iterable[Path]) -> list[FileInfo]:
    """The same for many, in their order."""
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(hash_file, paths))
