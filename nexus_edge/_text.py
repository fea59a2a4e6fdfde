"""Text that other systems wrote: byte order marks, UTF-16, line ends. Every text file is read through here."""

import codecs
import errno
import io
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

# UTF-32's mark in little endian begins with UTF-16's, so it comes first.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MARK = "\ufeff"
HALF = re.compile(r"\\u[dD][89a-fA-F]")  # what JSON writes for a surrogate of UTF-16
# C0 but for tabs and line feeds, DEL and C1: what moves a terminal's cursor, colours, or retitles it (ECMA-48).
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
LONGEST = 2**28
"""Bytes of a file of text. Tokenizers have 20 MB; a device such as /dev/zero has no end, and would fill the memory."""


def decode(data: bytes) -> str:
    """The text in `data`: UTF-8, or what its byte order mark says; line ends become `\\n`.

    Raises:
        ValueError: neither, with a message that says what to do
    """
    encoding = _marked(data) or "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        what = "UTF-8" if encoding.startswith("utf-8") else encoding.upper()
        raise ValueError(f"is not {what} text at byte {error.start}; save it as UTF-8") from error
    if "\0" in text:
        raise ValueError("has zero bytes: it is not text, or it is UTF-16 without a byte order mark; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file; raises OSError, and ValueError as `decode` and `read_bytes`."""
    return decode(read_bytes(path))


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """A file of text as it is, which may be a pipe; raises OSError, and ValueError if it is longer than any text."""
    with Path(path).open("rb") as file:
        data = file.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise ValueError(f"has more than {LONGEST:,} bytes, too many for a text file")
    return data


def require_regular(path: str | os.PathLike[str]) -> None:
    """Raise OSError for a pipe, a socket or a device where a file belongs: reading one may never end.

    Files that a user names may be pipes; those that a folder holds may not.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError(errno.EINVAL, "is a folder, a pipe, a socket or a device, not a file", str(path))


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads(object_pairs_hook=...)`: the object; raises ValueError for a key that appears twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r:.60} appears twice")
    return found


def parse_json(text: str, pairs: Callable[[Sequence[tuple[str, Any]]], Any] = once) -> Any:
    """The value of a JSON text that people bring; `pairs` makes objects, see `json.loads`.

    Raises:
        ValueError: no JSON, a key twice in an object (readers differ in which of them counts), or a string that is not
            text: JSON can write half of a character as an escape
    """
    value = json.loads(text, object_pairs_hook=pairs)
    if HALF.search(text):  # it may still have its other half beside it
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            raise ValueError(f"has half of a character, {half}, in a string: that is not text") from error
    return value


def without_mark(data: bytes) -> bytes:
    """A text file's bytes as UTF-8 without a byte order mark; those that have none are returned as they are."""
    encoding = _marked(data)
    return data if encoding is None else data.decode(encoding).encode("utf-8")


def without_controls(text: str) -> str:
    """Text for a terminal: control characters become escapes of four digits, which JSON reads as what they were."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def lines(stream: TextIO) -> Iterator[str]:
    """The lines of a pipe such as stdin as they come, without their ends.

    A byte order mark, as PowerShell writes it, says the encoding; without one it is the stream's own. Bytes that it
    does not allow are kept as lone surrogates, which whoever encodes the text refuses by its position.
    """
    binary: BinaryIO | None = getattr(stream, "buffer", None)
    if binary is None:
        yield from map(_bare, stream)
        return
    encoding = _marked(_first_bytes(binary)) or stream.encoding
    text = io.TextIOWrapper(binary, encoding=encoding, errors="surrogateescape")
    try:
        yield from map(_bare, text)
    finally:
        text.detach()  # or the stream that was given would be closed with it


def _bare(line: str) -> str:
    """Without its end, and without the mark that joined files have between them."""
    return line.rstrip("\r\n").removeprefix(MARK)


def _first_bytes(binary: BinaryIO) -> bytes:
    """What the stream begins with, still to be read; enough for every mark but UTF-32's, which no shell writes."""
    peek = getattr(binary, "peek", None)
    return bytes(peek(3)[:3]) if peek is not None else b""


def _marked(data: bytes) -> str | None:
    return next((encoding for mark, encoding in MARKS if data.startswith(mark)), None)
