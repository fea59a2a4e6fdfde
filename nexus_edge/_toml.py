"""TOML files of users: recipes, schemes, budgets, prompts, tolerances."""

import tomllib
from pathlib import Path
from typing import Any

from nexus_edge._text import read_text
from nexus_edge.errors import NexusEdgeError


def read_toml(path: Path, error: type[NexusEdgeError]) -> dict[str, Any]:
    """The file's table; raises `error`, in one line that names the file, where it cannot be read or is no TOML."""
    try:
        return tomllib.loads(read_text(path))
    except OSError as reason:
        raise error(f"{path}: cannot be read: {reason.strerror}") from reason
    except (ValueError, RecursionError) as reason:  # no text, or no TOML
        raise error(f"{path}: is not valid TOML: {reason}") from reason
