"""Reads a safetensors file without copying it: every tensor is a view of the mapped file.

Needs only numpy, because `nexus-edge verify` reads its goldens with it on the device.
"""

import mmap
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nexus_edge._text import require_regular
from nexus_edge.checkpoints.base import Array, TensorInfo
from nexus_edge.errors import CheckpointError
from nexus_edge.storage.dtypes import numpy_dtype
from nexus_edge.storage.header import Entry, read_header


class SafetensorsFile:
    """One mapped file. Arrays are read-only and keep the mapping alive as long as they live.

    Raises:
        CheckpointError: on opening, if the file is missing or damaged in any way; nothing is read before that is known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            require_regular(path)
            with path.open("rb") as file:
                header = read_header(file, path)
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
        self._entries = header.entries
        self.metadata = header.metadata
        self.infos: Mapping[str, TensorInfo] = {name: entry.info for name, entry in self._entries.items()}

    def read(self, key: str) -> Array:
        """The whole tensor, a view of the file."""
        entry = self._entry(key)
        dtype = numpy_dtype(entry.info.dtype)
        if entry.info.size == 0:
            return np.empty(entry.info.shape, dtype)
        count = entry.info.size // dtype.itemsize
        return np.frombuffer(self._map, dtype, count, entry.offset).reshape(entry.info.shape)

    def rows(self, key: str, start: int, stop: int) -> Array:
        """`tensor[start:stop]`; only the pages of these rows are read from disk."""
        return self.read(key)[start:stop]

    def release(self, key: str) -> None:
        """Drop the tensor's pages from resident memory. Views of it stay valid: their pages are read again."""
        entry = self._entry(key)
        begin = entry.offset - entry.offset % mmap.PAGESIZE
        if entry.info.size and hasattr(mmap, "MADV_DONTNEED"):  # absent on Windows: the pages then go under pressure
            self._map.madvise(mmap.MADV_DONTNEED, begin, entry.offset + entry.info.size - begin)

    def _entry(self, key: str) -> Entry:
        try:
            return self._entries[key]
        except KeyError:
            raise CheckpointError(f"{self.path}: has no tensor {key!r}") from None


def load_tensors(path: Path) -> dict[str, Array]:
    """Every tensor of a small file, as views of the mapping."""
    file = SafetensorsFile(path)
    return {key: file.read(key) for key in file.infos}
