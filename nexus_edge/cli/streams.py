"""stdout, stderr and stdin as they really are: other code pages, closed ones, and readers that go away."""

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

ESCAPED = "nexus_edge_escaped"
"""Error handler: what an encoding does not have becomes an escape of four digits, which JSON reads as what it was."""


class Output(io.TextIOBase):
    """A text stream in front of stdout or stderr that knows whether anything was written.

    It shows no binary stream below it, so that whoever writes takes the encoding as it is: some libraries go on in
    UTF-8 where a console says ASCII.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.used = False

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base class has a plain attribute
        return self._stream.encoding or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    def write(self, text: str) -> int:
        self.used = self.used or bool(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True


@contextmanager
def prepared() -> Iterator[Output]:
    """Inside, no character stops the output, and stdout and stderr exist; yields stdout.

    What an encoding does not have is written as an escape such as `\\u0394`. A UTF-8 stream that passes undecoded bytes
    of file names through keeps doing so.
    """
    codecs.register_error(ESCAPED, _escape)
    before = sys.stdin, sys.stdout, sys.stderr
    # A descriptor that the caller closed (`>&-`) is None here.
    sys.stdin = sys.stdin or io.StringIO()
    out, err = (Output(_lenient(stream or Path(os.devnull).open("w"))) for stream in before[1:])  # noqa: SIM115
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def discard(stream: object) -> None:
    """Send what is still buffered for a reader that went away to nowhere, so that the exit says nothing of it."""
    if isinstance(stream, Output):
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        except (OSError, ValueError):  # it has no descriptor: nothing is buffered below it
            return


def _lenient(stream: TextIO) -> TextIO:
    unicode = (stream.encoding or "").lower().replace("-", "").startswith("utf")
    if stream.errors == "strict" or (stream.errors == "surrogateescape" and not unicode):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=ESCAPED)
    return stream


def _escape(error: UnicodeError) -> tuple[str, int]:
    """See `ESCAPED`; characters beyond 16 bits are two escapes, as in JSON."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = zip(units[::2], units[1::2], strict=True)
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in pairs), error.end
