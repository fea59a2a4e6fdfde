"""Types of what callers of the Python API give: an error names the argument, and nothing is taken for another."""

import os
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from nexus_edge.errors import InputError

EMPTY_PATH = "is an empty path; name the file or folder, or . for the current folder"
"""What is said of one, after its name."""


def require_whole(name: str, value: Any) -> None:
    """Raises InputError unless it is a whole number; true and false are none, numpy's are."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise _wrong(name, value, "a whole number")


def require_number(name: str, value: Any) -> None:
    """Raises InputError unless it is a number; true and false are none, numpy's are."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise _wrong(name, value, "a number")


def require_text(name: str, value: Any) -> None:
    """Raises InputError unless it is a str, and one that UTF-8 can write: half a surrogate pair is no text."""
    if not isinstance(value, str):
        raise _wrong(name, value, "a text (str)")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name} is not valid Unicode at position {error.start}; give it as UTF-8") from error


def require_texts(name: str, values: Any) -> None:
    """Raises InputError unless it is a sequence of texts, each as `require_text` wants it."""
    if isinstance(values, str):
        raise InputError(f"{name} must be a list; {values!r:.80} is one text")
    if not hasattr(values, "__getitem__") or not hasattr(values, "__len__") or isinstance(values, bytes | dict):
        raise _wrong(name, values, "a list of texts (str)")
    for index in range(len(values)):
        require_text(f"{name}[{index}]", values[index])


def require_path(name: str, value: Any) -> Path:
    """The path that a caller gives; raises InputError unless it is one, and not an empty str.

    An empty path, as of a shell's variable that is not set, would be the current folder.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise _wrong(name, value, "a path (str or Path)")
    if not os.fspath(value):
        raise InputError(f"{name} {EMPTY_PATH}")
    if "\0" in os.fspath(value):
        raise InputError(f"{name} has a null character in it; no file has such a name")
    return Path(value)


def resolved(path: str | os.PathLike[str]) -> Path:
    """Absolute, with links followed; links that lead in a circle stay as they are, where `Path.resolve` raises."""
    return Path(os.path.realpath(path))


def require_kind(name: str, value: Any, kind: type | tuple[type, ...], what: str) -> None:
    """Raises InputError unless it is one of these; `what` ends the sentence "x must be ..."."""
    if not isinstance(value, kind):
        raise _wrong(name, value, what)


def _wrong(name: str, value: Any, what: str) -> InputError:
    given = "None" if value is None else f"a {type(value).__name__} {value!r:.60}"
    return InputError(f"{name} must be {what}, not {given}")
