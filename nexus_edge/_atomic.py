"""Writes a file so that it appears at its place complete or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nexus_edge.errors import OutputError


@contextmanager
def replaced_when_done(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`, not yet there, for a new file that takes the place of `path` when the block ends.

    Missing folders are made. If the block ends with an error, what it wrote is removed and `path` stays as it was.

    Raises:
        OutputError: the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.new-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # a full disk may show only now
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # what went wrong is told already
            temporary.unlink()
