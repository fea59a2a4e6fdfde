"""The weight file of a Core ML package, MIL blob format 2, taken apart as if an enemy had written it.

Layout (apple/coremltools, mlmodel/src/MILBlob/Blob/StorageFormat.hpp), all numbers little-endian: a header of 64 bytes
{uint32 count, uint32 version}, then anywhere, at offsets that are multiples of 64, records of 64 bytes {uint32
sentinel, uint32 type, uint64 bytes, uint64 data offset, uint64 padding bits}. The specification names a tensor by the
offset of its record.
"""

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nexus_edge.engines.coreml.mil.dtypes import DTYPES, DType, unpack
from nexus_edge.errors import BundleError

HEADER = struct.Struct("<II56x")
RECORD = struct.Struct("<IIQQQ32x")
VERSION = 2
SENTINEL = 0xDEADBEEF
ALIGNMENT = 64

_NAMES = {dtype.blob: dtype.name for dtype in DTYPES if dtype.blob is not None}


class Blob:
    """One weight file, mapped."""

    def __init__(self, path: Path) -> None:
        """Raises BundleError if the file is missing or is no weight file."""
        self._path = path
        if not path.is_file():
            raise BundleError(f"{path}: the weights of this Core ML package are missing; export the bundle again")
        if path.stat().st_size < HEADER.size:
            raise BundleError(
                f"{path}: no Core ML weight file: only {path.stat().st_size} bytes; export the bundle again"
            )
        self._data = np.memmap(path, np.uint8, "r")
        _, version = HEADER.unpack(self._data[: HEADER.size].tobytes())
        if version != VERSION:
            raise BundleError(f"{path}: Core ML weight format {version}; this reads {VERSION}")

    def tensor(self, name: str, dtype: DType, shape: Sequence[int], offset: int) -> np.ndarray:
        """Elements of the record at `offset`: a view of the file, or a copy where they had to be unpacked.

        Args:
            name: only for messages

        Raises:
            BundleError: there is no such record, it is of another type or size, or the file ends before its data.
        """
        where = f"{self._path}: tensor {name!r}"
        if offset < HEADER.size or offset % ALIGNMENT or offset + RECORD.size > self._data.size:
            raise BundleError(f"{where}: no record can be at byte {offset} of {self._data.size}; truncated file?")
        sentinel, code, size, begin, padding = RECORD.unpack(self._data[offset : offset + RECORD.size].tobytes())
        if sentinel != SENTINEL:
            raise BundleError(f"{where}: byte {offset} does not begin a record; the file does not fit its program")
        if code != dtype.blob:
            raise BundleError(f"{where}: holds {_NAMES.get(code, f'type {code}')}, the program says {dtype.name}")
        count = math.prod(shape)
        expected = -(-count * dtype.bits // 8)
        if size != expected or padding != expected * 8 - count * dtype.bits:
            raise BundleError(f"{where}: {size} bytes, but {dtype.name} {list(shape)} takes {expected}")
        if begin % ALIGNMENT or begin < HEADER.size or begin + size > self._data.size:
            raise BundleError(
                f"{where}: bytes {begin} to {begin + size} of a file of {self._data.size}; truncated file?"
            )
        data = self._data[begin : begin + size]
        if dtype.bits < 8:
            return unpack(np.asarray(data), dtype, count).reshape(shape)
        return np.asarray(data).view(dtype.storage.newbyteorder("<")).reshape(shape)
