"""Packages of one function each to one package, whose functions share every tensor that is equal.

Done on the files, a tensor at a time: coremltools' own way first reads the weights of all functions into memory. Source
of the layout of `weight.bin`: coremltools' MILBlob storage format, version 2.
"""

import mmap
import shutil
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

MODEL = "Data/com.apple.CoreML/model.mlmodel"
"""The program within a package."""

WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
"""Its tensors."""

_ALIGNMENT = 64
_HEADER = struct.Struct("<II")  # number of tensors, version
_RECORD = struct.Struct("<IIQQQ32x")  # mark, type, bytes, offset of the data, bits that only fill the last byte


@dataclass(frozen=True)
class _Tensor:
    """A tensor of a weight file: what its record says, and the digest of record and data."""

    offset: int  # of the record: what a program points at
    mark: int
    kind: int
    size: int
    start: int
    padding: int
    digest: bytes


def join(parts: Mapping[str, Path], path: Path) -> None:
    """Make a package of several functions; needs iOS 18.

    Args:
        parts: function -> a package that holds it as "main"; the first one is the default and moves to `path`
        path: of the new package
    """
    default, *others = parts
    shutil.move(parts[default], path)
    spec = _load(path)
    program, description = spec.mlProgram, type(spec.description)()
    program.functions[default].CopyFrom(program.functions["main"])
    del program.functions["main"]
    _describe(description, default, spec.description)
    with (path / WEIGHTS).open("rb+") as file:
        known = {tensor.digest: tensor.offset for tensor in _tensors(file)}
        for name in others:
            other = _load(parts[name])
            with (parts[name] / WEIGHTS).open("rb") as source:
                offsets = {tensor.offset: _offset(tensor, source, file, known) for tensor in _tensors(source)}
            program.functions[name].CopyFrom(other.mlProgram.functions["main"])
            for reference in _references(program.functions[name]):
                reference.offset = offsets[reference.offset]
            _describe(description, name, other.description)
        file.seek(0)
        _, version = _HEADER.unpack(file.read(_HEADER.size))
        file.seek(0)
        file.write(_HEADER.pack(len(known), version))
    description.defaultFunctionName = default
    description.metadata.CopyFrom(spec.description.metadata)
    spec.description.CopyFrom(description)
    (path / MODEL).write_bytes(spec.SerializeToString())


def _load(path: Path) -> Any:
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model()
    spec.ParseFromString((path / MODEL).read_bytes())
    return spec


def _describe(description: Any, name: str, of: Any) -> None:
    """Add a function with the interface of the package that it was alone in."""
    function = description.functions.add(name=name)
    for feature in ("input", "output", "state"):
        getattr(function, feature).extend(getattr(of, feature))


def _references(function: Any) -> Iterator[Any]:
    """Where a program points into the weight file."""
    for block in function.block_specializations.values():
        for operation in block.operations:
            assert not operation.blocks, f"{operation.type}: there are no blocks within blocks here"
            values = [*operation.attributes.values()]
            values += [part.value for item in operation.inputs.values() for part in item.arguments]
            yield from (value.blobFileValue for value in values if value.HasField("blobFileValue"))


def _tensors(file: BinaryIO) -> Iterator[_Tensor]:
    """All tensors of a weight file, in their order."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        count, _ = _HEADER.unpack_from(data)
        offset = _ALIGNMENT
        for _ in range(count):
            mark, kind, size, start, padding = _RECORD.unpack_from(data, offset)
            digest = sha256(struct.pack("<IQQ", kind, size, padding))
            with memoryview(data) as view, view[start : start + size] as part:
                digest.update(part)
            yield _Tensor(offset, mark, kind, size, start, padding, digest.digest())
            offset = _aligned(start + size)


def _offset(tensor: _Tensor, source: BinaryIO, file: BinaryIO, known: dict[bytes, int]) -> int:
    """Where a tensor of another file lies in this one; it is appended if it is not there yet."""
    if tensor.digest not in known:
        offset = _aligned(file.seek(0, 2))
        start = offset + _RECORD.size
        file.write(bytes(offset - file.tell()))
        file.write(_RECORD.pack(tensor.mark, tensor.kind, tensor.size, start, tensor.padding))
        source.seek(tensor.start)
        file.write(source.read(tensor.size))
        known[tensor.digest] = offset
    return known[tensor.digest]


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
