"""What one conversation may cost, whatever its template does.

Python cannot interrupt one operation from outside, so no single one may be large: every value that a template makes is
measured before the next step.
"""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

from jinja2 import Undefined
from jinja2.exceptions import SecurityError

SECONDS = 5.0
"""Of all renders of a conversation; one of hundreds of turns takes a tenth of a second."""

STEPS = 200_000
"""Loops, calls, filters and operators of one render; a long conversation takes some ten thousands."""

CHARACTERS = 64_000_000
"""All text that one render makes on the way; memory in the end, at most four bytes each."""

LARGEST = 4_000_000
"""Characters of one value: eight times a context of 128K tokens."""

ITEMS = 100_000
"""Items of one value, those of lists in it included; a conversation of a thousand turns has some thousands."""

_INTEGER = 1 << 63

Value = TypeVar("Value")


class LimitError(Exception):
    """A template takes too much; the message says of what."""


class Budget:
    """What is left to one render, and the clock of all renders of a conversation."""

    def __init__(self) -> None:
        self.now = datetime.now()  # one for all renders, which are compared with each other
        self._deadline = time.monotonic() + SECONDS
        self.renew()

    def renew(self) -> None:
        """For the next render of the conversation."""
        self._steps = STEPS
        self._characters = CHARACTERS

    def spend(self, characters: int = 0) -> None:
        """Take one step that makes so many characters; raises LimitError."""
        self._steps -= 1
        self._characters -= characters
        if self._steps < 0:
            raise LimitError(f"more than {STEPS:,} steps")
        if self._characters < 0:
            raise LimitError(f"more than {CHARACTERS:,} characters")
        if time.monotonic() > self._deadline:
            raise LimitError(f"more than {SECONDS:g} seconds")

    def charged(self, value: Value) -> Value:
        """The value, after paying for it; raises LimitError if it is too large."""
        self.spend(measure(value))
        return value


def measure(value: object) -> int:
    """Characters in a value, those of nested ones included.

    A generator, a macro and the like count as nothing by themselves: none is ever written out.

    Raises:
        LimitError: more than one value may have.
        SecurityError: a container holds one of these, whose text nobody measures.
    """
    characters, items, stack = 0, 0, [value]
    while stack:
        one = stack.pop()
        items += 1
        if isinstance(one, str):
            characters += len(one)
        elif isinstance(one, int) and not -_INTEGER <= one < _INTEGER:
            raise LimitError("an integer of more than 64 bits")
        elif isinstance(one, Mapping):
            stack += [*one, *one.values()]
        elif isinstance(one, list | tuple | set):
            stack += one
        elif items > 1 and not is_plain(one):
            raise SecurityError(f"a {type(one).__name__} in a list or an object")
        if characters > LARGEST:
            raise LimitError(f"a text of more than {LARGEST:,} characters")
        if items + len(stack) > ITEMS:
            raise LimitError(f"a value of more than {ITEMS:,} items")
    return characters


def require_length(length: int) -> None:
    """Refuse a text before it is made; raises LimitError."""
    if length > LARGEST:
        raise LimitError(f"a text of more than {LARGEST:,} characters")


def is_plain(value: object) -> bool:
    """Whether a value may be written out: text, a number, nothing, or a container."""
    return value is None or isinstance(value, str | int | float | Undefined | Mapping | list | tuple | set)
