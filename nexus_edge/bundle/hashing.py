"""SHA-256 of a bundle's files, several at a time, without reading a file into memory."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nexus_edge.bundle.manifest import FileInfo

WORKERS = 2  # hashlib lets go of the interpreter; beyond two, the disk or one large file is the limit


def hash_file(path: Path) -> FileInfo:
    """Size and SHA-256 of one file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileInfo(file.tell(), digest)


def hash_together(paths: Iterable[Path]) -> str:
    """One SHA-256 (hex) for the contents of several files in their order: that of their hashes in a row."""
    return hashlib.sha256("".join(info.sha256 for info in hash_files(paths)).encode()).hexdigest()


def hash_files(paths: Iterable[Path]) -> list[FileInfo]:
    """The same for many, in their order."""
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(hash_file, paths))
