"""Under which licence a checkpoint came: what its model card says, else the title of its licence file."""

import re
from pathlib import Path

from nexus_edge._text import require_regular
from nexus_edge.checkpoints.pointers import refuse_pointers
from nexus_edge.errors import CheckpointError

CARD = "README.md"
FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING")
_LONGEST = 200_000  # bytes that are looked at; licences and cards are shorter
_BEGINNING = 400  # characters of a licence file in which its title stands

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_ENTRY = re.compile(r"""^(license|license_name):[ \t]*(["']?)([\w.+-]+)\2[ \t]*(?:#.*)?$""", re.MULTILINE)
_TITLES = {
    "mit": re.compile(r"\bMIT Licen[cs]e\b|\bPermission is hereby granted, free of charge\b"),
    "apache-2.0": re.compile(r"\bApache License\b.*\bVersion 2\.0\b", re.DOTALL),
}


def read_license(folder: Path | None) -> str | None:
    """The licence's name in lower case, as the hub's model cards spell it (`mit`, `apache-2.0`, ...).

    Args:
        folder: of the checkpoint, None where there is none

    Returns:
        None where neither card nor file says it, or where no name for it is known
    """
    if folder is None:
        return None
    entries = {key: name.lower() for key, _, name in _ENTRY.findall(front_matter(folder))}
    # "other" has its name in an entry of its own.
    named = entries.get("license_name") if entries.get("license") == "other" else entries.get("license")
    if named is not None:
        return named
    beginnings = [_text(folder / name)[:_BEGINNING] for name in FILES]
    found = [name for text in beginnings for name, title in _TITLES.items() if title.search(text)]
    return found[0] if found else None


def require_readable(folder: Path) -> None:
    """Raise CheckpointError if a card or licence file of a folder is there and cannot be read, or is an LFS pointer.

    Without them a bundle would say that its checkpoint states no licence.
    """
    names = (CARD, *FILES)
    refuse_pointers(folder, names)
    for path in (folder / name for name in names):
        if path.is_dir() or not (path.exists() or path.is_symlink()):
            continue
        try:
            require_regular(path)
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            reason = error.strerror or "unknown error"
            raise CheckpointError(
                f"{path}: cannot be read ({reason}); it says under which licence the checkpoint came: make it "
                "readable, or remove it if there is none"
            ) from error


def front_matter(folder: Path) -> str:
    """The YAML at the head of a folder's model card; empty where there is none."""
    card = _FRONT_MATTER.match(_text(folder / CARD))
    return "" if card is None else card.group(1)


def _text(path: Path) -> str:
    """The beginning of a text file; empty where there is none. A card that cannot be read is no reason to stop."""
    try:
        require_regular(path)
        with path.open("rb") as file:
            return file.read(_LONGEST).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return ""
