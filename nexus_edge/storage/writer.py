"""Writes a safetensors file tensor by tensor, in any order, with memory for one piece at a time."""

import errno
import json
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from nexus_edge.checkpoints.base import Array, TensorInfo
from nexus_edge.errors import OutputError
from nexus_edge.storage.dtypes import CODE_OF_NAME, numpy_dtype
from nexus_edge.storage.header import LENGTH_BYTES, Entry

ALIGNMENT = 64  # bytes; a cache line, and the widest vector load (AVX-512), so engines can use mapped weights in place
PIECE = 1 << 30  # bytes per write call; Linux transfers at most 2 GiB at once


def plan_layout(
    tensors: Mapping[str, TensorInfo], metadata: Mapping[str, str] | None = None
) -> tuple[bytes, dict[str, Entry]]:
    """The header's bytes and each tensor's place in the file; `metadata` is the header's free-form part.

    The format forbids gaps, so alignment comes from the order: data starts at a multiple of `ALIGNMENT`, and tensors
    follow by the largest power of two (up to `ALIGNMENT`) that divides their size. Each tensor then starts at a
    multiple of that power of its own, hence of its element size. Within one power the given order is kept.
    """

    def power(info: TensorInfo) -> int:
        return min(info.size & -info.size, ALIGNMENT) if info.size else ALIGNMENT

    ordered = sorted(tensors.items(), key=lambda item: -power(item[1]))
    table: dict[str, Mapping[str, object]] = {"__metadata__": metadata} if metadata else {}
    position = 0
    for name, info in ordered:
        end = position + info.size
        table[name] = {"dtype": CODE_OF_NAME[info.dtype], "shape": list(info.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-(LENGTH_BYTES + len(text)) % ALIGNMENT)
    data_start = LENGTH_BYTES + len(text)
    places: dict[str, Entry] = {}
    for name, info in ordered:
        places[name] = Entry(info, data_start)
        data_start += info.size
    return len(text).to_bytes(LENGTH_BYTES, "little") + text, places


class StreamingSafetensorsWriter:
    """A safetensors file whose tensors are declared first and filled afterwards, from any thread.

    Space for the whole file is reserved at the start, so a full disk is noticed before the work, not after it.

        with StreamingSafetensorsWriter(path, {"w": TensorInfo("float32", (4096, 3072))}) as writer:
            writer.write("w", first_half)
            writer.write("w", second_half, start=2048)

    The file is removed when the `with` block ends with an error.

    Raises:
        OutputError: no space, read-only folder, or `path` exists.
    """

    def __init__(
        self, path: Path, tensors: Mapping[str, TensorInfo], metadata: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        head, self.entries = plan_layout(tensors, metadata)
        total = len(head) + sum(info.size for info in tensors.values())
        self._missing = {name: info.size for name, info in tensors.items()}
        self._lock = threading.Lock()  # seek and write are two calls; the kernel locks the file while writing anyway
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise OutputError(f"{path}: cannot be created: {error.strerror}") from error
        try:
            if shutil.disk_usage(path.parent).free < total:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if hasattr(os, "posix_fallocate"):  # Linux; elsewhere the file grows as it is written
                os.posix_fallocate(self._file.fileno(), 0, total)
            self._put(memoryview(head), 0)
        except OSError as error:
            self._discard()
            raise OutputError(f"{path}: cannot hold {total / 1e9:.2f} GB: {error.strerror}; free some space") from error

    def write(self, name: str, rows: Array, start: int = 0) -> None:
        """Write `rows` as `tensor[start : start + len(rows)]`; a scalar tensor is written whole.

        Raises:
            ValueError: another type or shape than declared, or rows past the end (a mistake of the caller).
            OutputError: the disk refused.
        """
        entry = self.entries[name]
        shape, dtype = entry.info.shape, numpy_dtype(entry.info.dtype)
        stop = start + (len(rows) if rows.ndim else 1)
        if rows.dtype != dtype or rows.ndim != len(shape) or rows.shape[1:] != shape[1:] or stop > (*shape, 1)[0]:
            raise ValueError(f"{name}: {rows.dtype} {rows.shape} from row {start} does not fit {dtype} {shape}")
        if not rows.size:
            return
        row_bytes = entry.info.size // (*shape, 1)[0]
        data = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
        with self._lock:
            try:
                self._put(data, entry.offset + start * row_bytes)
            except OSError as error:
                raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error
            self._missing[name] -= data.nbytes

    def _put(self, data: memoryview, offset: int) -> None:
        self._file.seek(offset)
        done = 0
        while done < data.nbytes:
            done += self._file.write(data[done : done + PIECE])

    def close(self) -> None:
        """Close the complete file.

        Raises:
            ValueError: a tensor has unwritten rows, or rows written twice (a mistake of the caller); removes the file.
        """
        wrong = [name for name, count in self._missing.items() if count]
        if wrong:
            self._discard()
            raise ValueError(f"{self.path}: {len(wrong)} tensors were not written exactly once, first {wrong[0]!r}")
        self._file.close()

    def _discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "StreamingSafetensorsWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()


def write_tensors(path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write a small file at once, with free-form texts in its header if there are any.

    Raises:
        OutputError: as `StreamingSafetensorsWriter`.
    """
    infos = {name: TensorInfo(array.dtype.name, array.shape) for name, array in tensors.items()}
    with StreamingSafetensorsWriter(path, infos, metadata) as writer:
        for name, array in tensors.items():
            writer.write(name, array)
