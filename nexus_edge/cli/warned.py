"""Warnings are one line each on stderr, and a few of each kind at most."""

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

MOST = 5  # of each kind; a folder may have thousands of animations


@contextmanager
def warned() -> Iterator[None]:
    """Inside, what is warned of is said in the terminal's manner; of others' warnings, with the package it is from."""
    seen: Counter[str] = Counter()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        from nexus_edge.cli.answers import say

        ours = category.__module__.startswith("nexus_edge.")
        kind = category.__name__ if ours else Path(filename).parent.name
        text = " ".join(str(message).split())
        seen[kind] += 1
        if seen[kind] <= MOST:
            say(f"warning: {text}" if ours else f"warning: {text} ({kind})", style="yellow")
        elif seen[kind] == MOST + 1:
            say("further warnings of this kind are not shown", style="yellow")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
