"""The pictures that people mean when they name files and folders."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from nexus_edge.errors import InputError

ENDINGS = {
    ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif", ".dcm",
    ".dicom",
}  # fmt: skip


def find_pictures(places: Iterable[Path]) -> list[Path]:
    """Each file as it is, and of each folder all files below it with the ending of a picture, by name.

    Hidden files and folders, such as the `._` files that macOS leaves on other disks, and links to folders are left
    out. What is named twice is there once.

    Raises:
        InputError: a place does not exist or cannot be read, or there is no picture in any.
    """
    found: dict[Path, Path] = {}
    places = list(places)
    for place in places:
        try:
            pictures = list(_below(place)) if place.is_dir() else [place]
            exists = place.exists()
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from error
        if not exists:
            raise InputError(f"{place}: no such file or folder; check the path of the pictures")
        for picture in pictures:
            found.setdefault(picture.absolute(), picture)
    if not found:
        names = ", ".join(map(str, places)) or "nothing"
        raise InputError(f"{names}: no pictures there; they must end in {', '.join(sorted(ENDINGS))}")
    return list(found.values())


def _below(folder: Path) -> Iterator[Path]:
    """Raises OSError for a folder that cannot be read."""

    def stop(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if Path(name).suffix.lower() in ENDINGS and not name.startswith("."):
                yield Path(parent, name)
