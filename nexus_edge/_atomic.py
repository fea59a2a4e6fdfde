"""Writes a file so that it appears at its place complete or not at all."""

import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from nexus_edge.errors import NexusEdgeError, OutputError

# Names of what this process has open. Opened again, a file behind one would be written from another place.
DESCRIPTOR = re.compile(r"/dev/(?P<name>stdout|stderr)|/(?:dev|proc/self)/fd/(?P<number>[0-9]{1,9})")


@contextmanager
def replaced_when_done(path: Path) -> Iterator[Path]:
    """Yield a path, not yet there, for a new file that takes the place of `path` when the block ends.

    A missing folder is made, unless its own is missing too: that is a path with a mistake. If the block ends with an
    error, what it wrote is removed and `path` stays as it was. A link keeps leading to where it does, and that file is
    replaced. What is no file, such as a pipe, /dev/stdout or /dev/null, stays what it is, and gets the content at the
    end.

    Raises:
        OutputError: the disk refuses, or `path` is a folder or a disk.
    """
    try:
        if _is_stream(path):
            with tempfile.TemporaryDirectory() as folder:
                temporary = Path(folder, path.name)
                with named_as(path, temporary):
                    yield temporary
                with temporary.open("rb") as content, _stream(path) as stream:
                    shutil.copyfileobj(content, stream)
        else:
            with _beside(Path(os.path.realpath(path))) as temporary, named_as(path, temporary):
                yield temporary
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def named_as(path: Path, temporary: Path) -> Iterator[None]:
    """Inside, an error about the temporary file or folder names the one that the user asked for."""
    try:
        yield
    except NexusEdgeError as error:
        text = str(error)
        if str(temporary) not in text:
            raise
        raise type(error)(text.replace(str(temporary), str(path))) from error
    except OSError as error:
        if isinstance(error.filename, str) and error.filename.startswith(str(temporary)):
            error.filename = error.filename.replace(str(temporary), str(path), 1)
        raise


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    # Threads write at the same time, and containers that share a disk have the same process ids.
    temporary = path.with_name(f".{path.name}.new-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        make_folder_of(path)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # a full disk may show only now
        temporary.replace(path)
    finally:
        with suppress(OSError):  # what went wrong is told already
            temporary.unlink()


def make_folder_of(path: Path) -> None:
    """Make the folder of a file that is to be written; raises OutputError where that one's own folder is missing."""
    try:
        path.parent.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise OutputError(
            f"{path}: there is no folder {path.parent.parent}; make it first, or correct the path"
        ) from error


def _stream(path: Path) -> IO[bytes]:
    found = DESCRIPTOR.fullmatch(str(path))
    if found is None:
        return path.open("wb")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    number = {"stdout": 1, "stderr": 2}[found["name"]] if found["name"] else int(found["number"])
    return os.fdopen(os.dup(number), "wb")


def _is_stream(path: Path) -> bool:
    """Whether to write into what is at `path` instead of replacing it; raises OutputError for folders and disks."""
    if DESCRIPTOR.fullmatch(str(path)):
        return True
    try:
        mode = path.stat().st_mode
    except OSError:  # nothing there; or what is wrong is said on writing
        return False
    if stat.S_ISDIR(mode) or stat.S_ISBLK(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a disk"
        raise OutputError(f"{path}: cannot be written: it is {what}; name a file")
    return not stat.S_ISREG(mode)
