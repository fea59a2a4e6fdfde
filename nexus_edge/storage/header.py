"""The header of a safetensors file, taken apart as if an enemy had written it.

Layout (https://huggingface.co/docs/safetensors, "Format"): 8 bytes little-endian length N, N bytes of JSON
`{name: {"dtype": code, "shape": [...], "data_offsets": [begin, end]}, "__metadata__": {str: str}}`, then the data,
which the tensors cover from its first byte to its last without gap or overlap.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from nexus_edge._text import parse_json
from nexus_edge.checkpoints.base import TensorInfo
from nexus_edge.errors import CheckpointError
from nexus_edge.storage.dtypes import NAME_OF_CODE

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000  # the limit of the reference library; 592 tensors of Phi-3-Vision need 70 kB
MAX_DIMS = 32  # numpy 1.x cannot hold more
REMEDY = "download it again"
MAX_BYTES = 2**63 - 1  # offsets are signed 64-bit in every consumer


@dataclass(frozen=True)
class Entry:
    """One tensor: what it is, and where it begins in the file (bytes from the start of the file)."""

    info: TensorInfo
    offset: int


@dataclass(frozen=True)
class Header:
    """All tensors of a file in the order of their data, and the free-form metadata."""

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]


class _DuplicateNameError(ValueError):
    """A JSON object with the same key twice."""


def read_header(file: BinaryIO, path: Path) -> Header:
    """Read and validate the header of the open `file`; `path` is only named in errors.

    Raises:
        CheckpointError: naming the file, the tensor where one is at fault, and what to do.
    """
    try:
        return _read(file, path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {REMEDY}") from error


def _read(file: BinaryIO, path: Path) -> Header:
    file_size = file.seek(0, 2)
    file.seek(0)
    prefix = file.read(LENGTH_BYTES)
    if len(prefix) < LENGTH_BYTES:
        raise CheckpointError(f"{path}: not a safetensors file: only {file_size} bytes")
    text = prefix.decode("latin-1")
    if text.isascii() and text.strip().isprintable():  # a page or a message in the file's place
        raise CheckpointError(f"{path}: begins with the text {text!r}, it is not a safetensors file")
    length = int.from_bytes(prefix, "little")
    if length > file_size - LENGTH_BYTES:
        raise CheckpointError(
            f"{path}: the header claims {length} bytes, the file has {file_size}; truncated, or not a safetensors file"
        )
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(f"{path}: the header claims {length} bytes, the format allows {MAX_HEADER_BYTES}")
    table = _parse(file.read(length), path)
    metadata = _metadata(table.pop("__metadata__", {}), path)
    data_start = LENGTH_BYTES + length
    entries = {name: _entry(value, f"{path}: tensor {name!r}") for name, value in table.items()}
    ordered = sorted(entries.items(), key=lambda item: (item[1].offset, item[1].info.size))
    _check_cover(ordered, file_size - data_start, path)
    return Header({name: Entry(entry.info, entry.offset + data_start) for name, entry in ordered}, metadata)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _DuplicateNameError(f"the name {name!r} appears twice")
            seen.add(name)
    return result


def _parse(raw: bytes, path: Path) -> dict[str, Any]:
    try:
        table = parse_json(raw.decode("utf-8"), _unique)
    except _DuplicateNameError as error:
        raise CheckpointError(f"{path}: broken header: {error}") from error
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        reason = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        raise CheckpointError(f"{path}: the header is not valid JSON ({reason})") from error
    if not isinstance(table, dict):
        raise CheckpointError(f"{path}: the header is a JSON {type(table).__name__}, expected an object")
    return table


def _metadata(value: Any, path: Path) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise CheckpointError(f"{path}: __metadata__ in the header must map strings to strings")
    return value


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_BYTES  # bool is an int, but no size


def _entry(value: Any, where: str) -> Entry:
    """One validated entry; its offset is still relative to the data section."""
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{where}: the header entry must have exactly dtype, shape and data_offsets")
    code, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(code, str) or code not in NAME_OF_CODE:
        raise CheckpointError(f"{where}: unknown dtype {code!r}; supported are {', '.join(NAME_OF_CODE)}")
    if not isinstance(shape, list) or len(shape) > MAX_DIMS or not all(_is_size(dim) for dim in shape):
        raise CheckpointError(f"{where}: shape {shape!r:.80} is not a list of at most {MAX_DIMS} sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(item) for item in offsets):
        raise CheckpointError(f"{where}: data_offsets {offsets!r:.80} are not [begin, end]")
    info = TensorInfo(NAME_OF_CODE[code], tuple(shape))
    if math.prod(dim for dim in shape if dim) > MAX_BYTES // 8:  # [0, huge, huge] holds nothing, yet no array can be it
        raise CheckpointError(f"{where}: shape {shape!r:.80} is larger than any memory")
    begin, end = offsets
    if end - begin != info.size:
        raise CheckpointError(f"{where}: {end - begin} bytes of data, but {code} {shape!r:.80} takes {info.size}")
    return Entry(info, begin)


def _check_cover(ordered: list[tuple[str, Entry]], data_bytes: int, path: Path) -> None:
    """The tensors, sorted by offset, must tile the data section."""
    position, previous = 0, "the header"
    for name, entry in ordered:
        if entry.offset < position:
            raise CheckpointError(f"{path}: tensor {name!r} overlaps {previous!r}")
        if entry.offset > position:
            raise CheckpointError(f"{path}: {entry.offset - position} unused bytes before tensor {name!r}")
        position, previous = entry.offset + entry.info.size, name
        if position > data_bytes:
            raise CheckpointError(
                f"{path}: tensor {name!r} ends at byte {position} of the data, which has {data_bytes}; it is truncated"
            )
    if position != data_bytes:
        raise CheckpointError(f"{path}: {data_bytes - position} unused bytes after the last tensor")
