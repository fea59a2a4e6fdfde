"""What a command writes does not take the place of what it reads, or of what somebody else made.

A report is written again in each run of a CI, without `--force`: a file that nexus-edge wrote may be replaced. What it
did not write stays, and so does whatever the same call reads.
"""

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nexus_edge._atomic import DESCRIPTOR
from nexus_edge.errors import InputError, OutputError

HEAD = 2**18  # bytes of a file in which it says what it is
SAFETENSORS = rb'\A.{8}\{"__metadata__":\{'
"""How a mark begins of files that `storage.writer` wrote with metadata; needs `re.DOTALL`."""


@dataclass(frozen=True)
class FileKind:
    """A kind of file that an option writes.

    Attributes:
        what: it is, as in "a PNG sheet ends in .png"
        endings: that its name may have, in lower case; "" is none, as of the files that a CI makes for its steps
        mark: of each that nexus-edge wrote, from its first byte on. It is as long as it takes that nobody else's file
            has it by accident: a user's own page may be called "Parity of two servers".
    """

    what: str
    endings: tuple[str, ...]
    mark: re.Pattern[bytes]


def require_name(option: str, path: Path, kind: FileKind) -> None:
    """Raise InputError unless the file is named as what is written into it. A device or a pipe has any name."""
    if path.suffix.lower() not in kind.endings and not _is_stream(path):
        endings = " or ".join(ending or "without an ending" for ending in kind.endings)
        raise InputError(f"{path}: {kind.what} ends in {endings}; give {option} another name")


def require_place(path: Path) -> None:
    """Raise OutputError where no file can be: at a folder, below a file, or where more than the last folder is missing.

    It is what `replaced_when_done` would say, before the work whose result would be lost.
    """
    if _is_stream(path):
        return
    real = Path(os.path.realpath(path))
    folder = real.parent
    if real.is_dir():
        raise OutputError(f"{path}: cannot be written: it is a folder; name a file")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{path}: cannot be written: {folder} is a file, not a folder; correct the path")
    if not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: there is no folder {folder}; make it first, or correct the path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: cannot be written: no permission in {folder}; choose another place")
    if is_full(folder):
        raise OutputError(f"{path}: cannot be written: the disk of {folder} is full; free some space")


def is_full(place: Path | int) -> bool:
    """Whether the disk of a folder, or of an open file, has not one block left for this user; False if unknown."""
    statvfs = getattr(os, "statvfs", None)  # not on Windows
    try:
        disk = statvfs(place) if statvfs else None
    except OSError:
        return False
    if disk is None or not disk.f_blocks:  # pipes and devices have no blocks
        return False
    return not (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail)


def require_own(
    option: str, path: Path, kind: FileKind, remedy: str = "choose another name, or remove it first"
) -> None:
    """Raise OutputError if a file is there that nexus-edge did not write as one of this kind; an empty one is free."""
    if _is_stream(path):
        return
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:  # none there; what else is wrong is said on writing
        return
    if head.strip() and kind.mark.match(head) is None:
        raise OutputError(
            f"{path}: is there already and not {kind.what} that nexus-edge wrote, so {option} does not replace it; "
            f"{remedy}"
        )


def require_apart(option: str, path: Path, reads: Iterable[Path]) -> None:
    """Raise OutputError if `path`, a file or folder to be written, is, holds, or lies in what the same call reads.

    Links are followed, and two names of one file are one file.

    Args:
        option: that names `path`
        path: need not be there
        reads: files, and folders of which each file belongs to the whole, such as bundles; they need not be there
    """
    if _is_stream(path):
        return
    target, real = _stat(path), Path(os.path.realpath(path))
    for read in reads:
        found = _stat(read)
        if found is None:
            if real == Path(os.path.realpath(read)):
                raise OutputError(f"{path}: is what this call reads, so {option} does not write there; choose another")
            continue
        is_same = target is not None and os.path.samestat(target, found)
        lies_in = stat.S_ISDIR(found.st_mode) and real.is_relative_to(os.path.realpath(read))
        holds = (
            target is not None and stat.S_ISDIR(target.st_mode) and Path(os.path.realpath(read)).is_relative_to(real)
        )
        if is_same or lies_in or holds:
            relation = "is" if is_same else f"lies in {read}," if lies_in else f"holds {read},"
            raise OutputError(
                f"{path}: {relation} what this call reads, so {option} does not write there; choose another"
            )


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _is_stream(path: Path) -> bool:
    """Whether it gets the content and stays what it is: a device, a pipe, or what this process has open."""
    found = _stat(path)
    is_file = found is None or stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    return DESCRIPTOR.fullmatch(str(path)) is not None or not is_file
