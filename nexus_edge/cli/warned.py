"""Warnings of ours are one line each on stderr, and a few of each kind at most."""

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

MOST = 5  # of each kind; a folder may have thousands of animations


@contextmanager
def warned() -> Iterator[None]:
    """Inside, what nexus_edge warns of is said in the terminal's manner; warnings of others stay as they are."""
    seen: Counter[str] = Counter()
    others = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        from nexus_edge.cli.answers import say

        if not category.__module__.startswith("nexus_edge."):
            others(message, category, filename, lineno, file, line)
            return
        seen[category.__name__] += 1
        if seen[category.__name__] <= MOST:
            say(f"warning: {message}", style="yellow")
        elif seen[category.__name__] == MOST + 1:
            say("further warnings of this kind are not shown", style="yellow")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
