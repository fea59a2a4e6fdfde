"""Reads an .npz file as if an enemy had written it: no objects, and no array larger than the file.

`numpy.load(allow_pickle=False)` runs no code, but it inflates what was compressed and believes the sizes in headers.
Here only stored members are read, as `numpy.savez` writes them, and a member's header must ask for exactly its bytes.
"""

import math
import struct
import sys
import tokenize
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from nexus_edge.errors import InputError

# What zipfile and numpy raise on damaged files: RuntimeError for encrypted ones, ValueError for names that are no text.
ZIP_ERRORS = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)
# What numpy's reading of a header as Python's literals raises, the last two where it takes it for one of Python 2.
HEADER_ERRORS = (ValueError, KeyError, TypeError, RecursionError, MemoryError, SyntaxError, tokenize.TokenError)
MAX_HEADER = 10_000  # bytes of text; numpy's own limit


def read_npz(path: Path, kinds: Mapping[str, tuple[str, int]]) -> dict[str, NDArray[Any]]:
    """Every array of `kinds`.

    Args:
        path: of the file
        kinds: name -> the kinds of dtype that it may have ("f", "i", "U": `numpy.dtype.kind`) and its dimensions

    Raises:
        InputError: no such file, truncated, compressed, or another array than expected.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            if members.keys() != kinds.keys() or len(archive.infolist()) != len(members):
                raise InputError(f"{path}: is no index of this version; make it again with nexus-edge embed")
            room = path.stat().st_size
            if sum(member.file_size for member in members.values()) > room:
                raise InputError(f"{path}: claims more data than it has; make it again with nexus-edge embed")
            return {name: _read(archive, members[name], *kinds[name], f"{path}: {name}") for name in kinds}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (
        zipfile.BadZipFile,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:  # the last two: encrypted, exotic
        raise InputError(f"{path}: is damaged or no index ({error}); make it again with nexus-edge embed") from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, kinds: str, dims: int, where: str) -> NDArray[Any]:
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise InputError(f"{where} is compressed, which an index never is; make it again with nexus-edge embed")
    with archive.open(member) as file:
        shape, in_columns, dtype = _header(file, where)
        plain = dtype.kind in kinds and dtype.isnative and dtype.itemsize > 0 and not (in_columns and dims > 1)
        if not plain or len(shape) != dims or any(size < 0 for size in shape):
            raise InputError(f"{where} is {dtype} {list(shape)!r:.60}; make the index again with nexus-edge embed")
        count = math.prod(shape)  # of Python's integers: numpy's would overflow
        if count * dtype.itemsize != member.file_size - file.tell():
            raise InputError(f"{where} does not fill its place in the file; make it again with nexus-edge embed")
        data = file.read()  # to its end, where zipfile compares the checksum
    if len(data) != count * dtype.itemsize:
        raise InputError(f"{where} is cut off; make the index again with nexus-edge embed")
    if dtype.kind == "U" and np.frombuffer(data, np.uint32).max(initial=0) > sys.maxunicode:
        raise InputError(f"{where} holds what is no text; make the index again with nexus-edge embed")
    return np.frombuffer(data, dtype).reshape(shape)


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        return read(file, max_header_size=MAX_HEADER)
    except HEADER_ERRORS as error:
        raise InputError(f"{where} is no array ({error!s:.80}); make the index again with nexus-edge embed") from error
