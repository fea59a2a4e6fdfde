"""Reads the small JSON files of a checkpoint."""

from pathlib import Path
from typing import Any

from nexus_edge._text import parse_json, read_bytes, read_text, require_regular, without_mark
from nexus_edge.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        CheckpointError: missing, not JSON, a key twice, or not an object.
    """
    try:
        require_regular(path)
        value = parse_json(read_text(path))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}; a checkpoint folder needs it") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: is a JSON {type(value).__name__}, expected an object")
    return value


def is_there(path: Path) -> bool:
    """Whether something stands at a path; raises CheckpointError where it is no file, or a link that leads nowhere."""
    if path.is_symlink() and not path.exists():
        raise CheckpointError(f"{path}: is a link that leads nowhere; copy the file itself")
    if not path.exists() or path.is_dir():
        return False
    try:
        require_regular(path)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    return True


def read_processor_file(path: Path) -> bytes:
    """A text file of a processor without its byte order mark; raises CheckpointError."""
    try:
        require_regular(path)
        return without_mark(read_bytes(path))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
