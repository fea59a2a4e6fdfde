"""Reads the small JSON files that describe a checkpoint or a bundle's processor."""

from pathlib import Path, PurePosixPath
from typing import Any

from nexus_edge._text import parse_json, read_text, require_regular
from nexus_edge.errors import CheckpointError


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """The object in `folder/name`; raises CheckpointError if it is missing, unreadable or not a JSON object."""
    path = folder / name
    try:
        require_regular(path)
        value = parse_json(read_text(path))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; a complete checkpoint folder has it") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # no text, no JSON, or nested beyond reason
        raise CheckpointError(f"{path} is not valid JSON ({error}); download it again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a JSON {type(value).__name__}, expected an object; download it again")
    return value


def named_folder(folder: Path, name: str) -> Path | None:
    """The folder inside `folder` that a configuration calls `name`; None where there is none, as for a hub's name."""
    path = PurePosixPath(name)
    inside = bool(name) and not path.is_absolute() and ".." not in path.parts
    return folder / path if inside and (folder / path).is_dir() else None
