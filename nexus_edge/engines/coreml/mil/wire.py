"""The protobuf wire format, as far as a Core ML specification needs it.

https://protobuf.dev/programming-guides/encoding: a message is a row of fields, each a number, a wire type and a
payload. Which number means what, `spec` and `features` know, from the .proto files of the format (apple/coremltools,
mlmodel/format). Reading them here takes neither coremltools, whose import costs seconds, nor the protobuf package.
"""

from collections.abc import Iterator

import numpy as np

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES = 10  # 64 bits in groups of 7


class WireError(ValueError):
    """Bytes that are no protobuf message, or not the one that was expected."""


class Message:
    """The fields of one message; a field that is not there reads as protobuf's default for it."""

    def __init__(self, data: memoryview) -> None:
        """Raises WireError if the bytes do not divide into fields."""
        self._fields: dict[int, list[int | memoryview]] = {}
        for number, payload in _fields(data):
            self._fields.setdefault(number, []).append(payload)

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def integer(self, number: int) -> int:
        """int32, int64, uint64, bool or enum; the last one counts, as protobuf wants it."""
        value = self._fields.get(number, [0])[-1]
        if not isinstance(value, int):
            raise WireError(f"field {number} is no integer")
        return _signed(value)

    def raw(self, number: int) -> memoryview:
        """bytes."""
        parts = self._payloads(number)
        return parts[-1] if parts else memoryview(b"")

    def text(self, number: int) -> str:
        return _text(self.raw(number))

    def texts(self, number: int) -> list[str]:
        return [_text(part) for part in self._payloads(number)]

    def name(self, number: int) -> str:
        """A text that can stand in a message of one line."""
        return _name(self.text(number))

    def names(self, number: int) -> list[str]:
        return [_name(text) for text in self.texts(number)]

    def message(self, number: int) -> "Message":
        return Message(self.raw(number))

    def messages(self, number: int) -> list["Message"]:
        return [Message(part) for part in self._payloads(number)]

    def mapping(self, number: int) -> dict[str, "Message"]:
        """map<string, message>"""
        return {entry.name(1): entry.message(2) for entry in self.messages(number)}

    def integers(self, number: int) -> list[int]:
        """Repeated integers, packed into one field or one a field."""
        found: list[int] = []
        for value in self._fields.get(number, []):
            if isinstance(value, int):
                found.append(_signed(value))
                continue
            at = 0
            while at < len(value):
                item, at = _varint(value, at)
                found.append(_signed(item))
        return found

    def numbers(self, number: int, dtype: np.dtype[np.float32] | np.dtype[np.float64]) -> np.ndarray:
        """Repeated float or double; packed or not, their bytes follow each other."""
        joined = b"".join(self._payloads(number))
        if len(joined) % dtype.itemsize:
            raise WireError(f"field {number} ends inside a number")
        return np.frombuffer(joined, dtype.newbyteorder("<")).astype(dtype)

    def _payloads(self, number: int) -> list[memoryview]:
        found = self._fields.get(number, [])
        payloads = [value for value in found if isinstance(value, memoryview)]
        if len(payloads) != len(found):
            raise WireError(f"field {number} is an integer, which was not expected")
        return payloads


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in _FIXED_SIZES:
            size = _FIXED_SIZES[kind]
        else:
            raise WireError(f"field {number} has the wire type {kind}, which does not exist")
        if size > len(data) - at:
            raise WireError(f"field {number} claims {size} bytes where {len(data) - at} are left")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """An unsigned number, and where the next byte is."""
    value = 0
    for place, byte in enumerate(data[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + place + 1
    raise WireError("a number does not end")


def _signed(value: int) -> int:
    """Negative int32 and int64 are written as 64 bits in two's complement."""
    return value - (1 << 64) if value >> 63 else value


def _text(data: memoryview) -> str:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise WireError("a text is not UTF-8") from error


def _name(text: str) -> str:
    if not text.isprintable():
        raise WireError(f"{text[:40]!r} is no name")
    return text
