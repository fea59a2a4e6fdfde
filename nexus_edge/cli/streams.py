"""stdout, stderr and stdin as they really are: other code pages, closed ones, and readers that go away."""

import codecs
import errno
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from nexus_edge._outputs import is_full
from nexus_edge._text import without_controls

ESCAPED = "nexus_edge_escaped"
"""Error handler: what an encoding does not have becomes an escape of four digits, which JSON reads as what it was."""


class UnwrittenError(OSError):
    """What a command says cannot be written: the disk below stdout is full, or stdout is closed."""


class Output(io.TextIOBase):
    """A text stream in front of stdout or stderr that knows whether anything was written.

    Raises UnwrittenError where that fails, and BrokenPipeError where the reader went away.

    It shows no binary stream below it, so that whoever writes takes the encoding as it is: some libraries go on in
    UTF-8 where a console says ASCII.

    Args:
        stream: what is below
        plain: write control characters as escapes, so that no label, answer or file name reaches a terminal as a
            command; colours are written through `Controls`
    """

    def __init__(self, stream: TextIO, *, plain: bool = False) -> None:
        self._stream = stream
        self._plain = plain
        self.used = False

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base class has a plain attribute
        return self._stream.encoding or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    def write(self, text: str) -> int:
        self.put(without_controls(text) if self._plain else text)
        return len(text)

    def put(self, text: str) -> None:
        """Write it as it is."""
        self.used = self.used or bool(text)
        with _told_apart():
            self._stream.write(text)

    def require_open(self) -> None:
        """Raise UnwrittenError where nothing could be written, before work whose result would be lost."""
        try:
            number = self._stream.fileno()
        except (OSError, ValueError):  # a stream without a descriptor
            return
        with _told_apart():
            os.write(number, b"")  # refused by what is open for reading, and by /dev/full
            if stat.S_ISREG(os.fstat(number).st_mode) and is_full(number):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        with _told_apart():
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True


class Controls(Output):
    """The stream of an `Output` for what may colour and move: tables, progress."""

    def __init__(self, out: Output) -> None:
        super().__init__(out._stream)
        self._out = out

    def put(self, text: str) -> None:
        self._out.put(text)


class ClosedOutput(Output):
    """In place of a stdout that the caller closed (`>&-`): a result that would stand there is lost, which is an error.

    It holds a descriptor open, so that no file that is opened later becomes the stdout of a library in C.
    """

    def put(self, text: str) -> None:
        if text:
            self.require_open()

    def require_open(self) -> None:
        raise UnwrittenError(errno.EBADF, "stdout is closed")


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
    out = ClosedOutput(_nowhere()) if sys.stdout is None else Output(_lenient(sys.stdout), plain=True)
    sys.stdout, sys.stderr = out, Output(_lenient(sys.stderr or _nowhere()))
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


@contextmanager
def _told_apart() -> Iterator[None]:
    """Inside, an error of the stream is no longer one of any other file."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnwrittenError(error.errno, error.strerror) from error


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


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
