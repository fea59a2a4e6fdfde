"""Makes the value that leaves each layer an output of an .onnx file, without the `onnx` package, which devices lack.

A protobuf message may be written in pieces: a parser merges a second `graph` into the first and appends its repeated
fields ("Protocol Buffers: Encoding", last-one-wins and merging). So the file stays as it is, and outputs are appended.
Field numbers are those of onnx.proto: ModelProto.graph 7, GraphProto.node 1 and output 12, NodeProto.output 2,
ValueInfoProto.name 1.
"""

from collections.abc import Iterator
from pathlib import Path

from nexus_edge.bundle.layer_names import layer_of_output
from nexus_edge.errors import ParityError

_GRAPH, _NODE, _NODE_OUTPUT, _GRAPH_OUTPUT, _NAME = 7, 1, 2, 12, 1
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def with_layers_visible(path: Path) -> bytes:
    """The file's bytes, and after them each `<layer>.output` as a further output of the graph.

    Raises:
        ParityError: it is not an .onnx file
    """
    model = path.read_bytes()
    try:
        names = layer_values(model)
    except (IndexError, ValueError) as error:
        raise ParityError(f"{path.name}: is not an .onnx file ({error})") from error
    outputs = b"".join(_field(_GRAPH_OUTPUT, _field(_NAME, name.encode())) for name in names)
    return model + _field(_GRAPH, outputs) if names else model


def layer_values(model: bytes) -> list[str]:
    """Names of the values that leave layers, in the order of the graph's nodes."""
    view = memoryview(model)
    return [
        name
        for graph in _fields(view, _GRAPH)
        for node in _fields(graph, _NODE)
        for output in _fields(node, _NODE_OUTPUT)
        if layer_of_output(name := bytes(output).decode()) is not None
    ]


def _fields(message: memoryview, number: int) -> Iterator[memoryview]:
    """The contents of a message's fields of this number, which have a length."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _LENGTH:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("a field is longer than its message")
            if tag >> 3 == number:
                yield message[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {kind}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number that starts at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _field(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | _LENGTH) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
