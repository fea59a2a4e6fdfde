"""The images that people mean when they name files and folders."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nexus_edge._arguments import require_path
from nexus_edge.errors import InputError
from nexus_edge.processing.kinds import HEAD, UNKNOWN, kind_of

# Files with these endings are images to whoever named them so, and what is wrong with them is said when they are read.
ENDINGS = {
    ".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
    ".pfm", ".jp2", ".j2k", ".avif", ".heic", ".heif", ".jxl", ".svs", ".dcm", ".dicom",
}  # fmt: skip


@dataclass(frozen=True)
class LeftOut:
    """A file below a named folder that is no image, and what it is."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Found:
    """Images, of which none is there twice, and the files beside them that are none."""

    images: list[Path]
    left_out: list[LeftOut]


def find_images(paths: Iterable[Path]) -> list[Path]:
    """The images of `scan`."""
    return scan(paths).images


def scan(paths: Iterable[Path]) -> Found:
    """Each file as it is, and of each folder all images below it, told by content, by name.

    A file is an image if its first bytes say so, whether it can be read here or not, or if it has an image's ending.
    Hidden files and folders, such as the `._` files that macOS leaves on other disks, and links to folders are passed
    over. What is named twice is there once.

    Raises:
        InputError: a path does not exist or cannot be read, or none holds an image.
    """
    found: dict[Path, Path] = {}
    left_out: dict[Path, LeftOut] = {}
    paths = [require_path("paths", path) for path in paths]
    for given in paths:
        try:
            if not given.is_dir():
                if not given.exists():
                    raise InputError(f"{given}: no such file or folder; check the path of the images")
                found.setdefault(given.absolute(), given)
                continue
            for file in _below(given):
                reason = _why_not(file)
                if reason is None:
                    found.setdefault(file.absolute(), file)
                else:
                    left_out.setdefault(file.absolute(), LeftOut(file, reason))
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from error
    if not found:
        names = ", ".join(map(str, paths)) or "nothing"
        others = f", only {summary(list(left_out.values()))}" if left_out else ""
        raise InputError(f"{names}: no images there{others}; name files or folders with images, of any ending")
    return Found(list(found.values()), [item for path, item in left_out.items() if path not in found])


def summary(left_out: list[LeftOut], most: int = 3) -> str:
    """How many files were left out, and the first of them: one line."""
    named = ", ".join(f"{item.path.name}: {item.reason}" for item in left_out[:most])
    more = f", and {len(left_out) - most} more" if len(left_out) > most else ""
    what = "file that is no image" if len(left_out) == 1 else "files that are no images"
    return f"{len(left_out)} {what} ({named}{more})"


def _why_not(file: Path) -> str | None:
    """What a file is that is no image; None for images, and for what cannot be opened, which is said on reading."""
    has_ending = file.suffix.lower() in ENDINGS
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # a pipe would keep us waiting
            return "no file"
        with file.open("rb") as opened:
            kind = kind_of(opened.read(HEAD))
    except FileNotFoundError:
        return None if has_ending else "a link to nothing"
    except OSError:
        return None
    if kind.is_image or (kind is UNKNOWN and has_ending):
        return None
    return kind.name


def _below(folder: Path) -> Iterator[Path]:
    """Raises OSError for a folder that cannot be read."""

    def stop(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(parent, name)
