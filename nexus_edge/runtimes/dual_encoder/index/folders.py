"""The images that people mean when they name files and folders."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nexus_edge._arguments import require_path
from nexus_edge.errors import InputError
from nexus_edge.processing.kinds import HEAD, UNKNOWN, kind_of
from nexus_edge.processing.sources import DOWNLOAD, URL

# Files with these endings are images to whoever named them so, and what is wrong with them is said when they are read.
ENDINGS = {
    ".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
    ".pfm", ".jp2", ".j2k", ".avif", ".heic", ".heif", ".jxl", ".svs", ".dcm", ".dicom",
}  # fmt: skip


PASSED = HIDDEN, HIDDEN_FOLDER, LINKED_FOLDER = "a hidden file", "a hidden folder", "a link to a folder"


@dataclass(frozen=True)
class LeftOut:
    """What lies below a named folder and is no image, or is not looked at, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Found:
    """Images, of which none appears twice, and what lies beside them and was left out."""

    images: list[Path]
    left_out: list[LeftOut]


def find_images(paths: Iterable[Path]) -> list[Path]:
    """The images of `scan`."""
    return scan(paths).images


def scan(paths: Iterable[Path]) -> Found:
    """Each file as it is, and of each folder all images below it, told by content, by name.

    A file is an image if its first bytes say so, whether it can be read here or not, or if it has an image's ending.
    Hidden files and folders, such as the `._` files that macOS leaves on other disks, and links to folders are left
    out; hidden files that are no images without a word. What is named twice is there once.

    Raises:
        InputError: a path does not exist or cannot be read, or none holds an image.
    """
    found: dict[Path, Path] = {}
    left_out: dict[Path, LeftOut] = {}
    paths = [require_path("paths", path) for path in paths]
    for given in paths:
        try:
            if not given.is_dir():
                if URL.match(str(given)):
                    raise InputError(f"{given}: is a URL, and images are not fetched from anywhere; {DOWNLOAD}")
                if not given.exists():
                    raise InputError(f"{given}: no such file or folder; check the path of the images")
                found.setdefault(given.absolute(), given)
                continue
            for file, passed in _below(given):
                reason = passed or _why_not(file)
                if passed == HIDDEN and _why_not(file) is not None:
                    continue
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
    passed = [item for item in left_out if item.reason in PASSED]
    others = [item for item in left_out if item.reason not in PASSED]
    parts = (
        (others, "file that is not an image" if len(others) == 1 else "files that are not images"),
        (passed, "hidden or linked"),
    )
    return ", ".join(f"{len(items)} {what} ({_named(items, most)})" for items, what in parts if items)


def _named(items: list[LeftOut], most: int) -> str:
    more = f", and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(f"{item.path.name}: {item.reason}" for item in items[:most]) + more


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


def _below(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """All files, and folders that are not entered, with the reason; raises OSError for one that cannot be read."""

    def stop(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=stop):
        for name in sorted(folders):
            if name.startswith("."):
                yield Path(parent, name), HIDDEN_FOLDER
            elif Path(parent, name).is_symlink():
                yield Path(parent, name), LINKED_FOLDER
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            yield Path(parent, name), HIDDEN if name.startswith(".") else None
