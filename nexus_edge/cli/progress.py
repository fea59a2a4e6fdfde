"""Progress on stderr: a line that moves in a terminal, and a plain line now and then where there is none."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from nexus_edge.cli.answers import say
from nexus_edge.cli.console import console
from nexus_edge.interfaces.progress import Count, Progress

EVERY = 10.0
"""Seconds between two plain lines; what takes less says nothing."""


@contextmanager
def step_bar(*, quiet: bool) -> Iterator[Progress]:
    """Yield what an export or a ladder calls with a step's name and the share that is done, 0..1.

    In a terminal the line vanishes at the end.
    """
    screen = console(stderr=True)
    if quiet or not screen.is_terminal:
        plain = PlainLines(quiet=quiet)
        yield lambda step, share: plain.say(f"{step} ({share:.0%} done)")
        return
    columns = (TextColumn("{task.description:<24}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Bar(*columns, TimeElapsedColumn(), console=screen, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda step, share: bar.update(task, description=step, completed=share)


@contextmanager
def count_bar(what: str, *, quiet: bool) -> Iterator[Count]:
    """Yield what is called with the number of `what` that are done, and that of all.

    In a terminal the line vanishes at the end.
    """
    screen = console(stderr=True)
    if quiet or not screen.is_terminal:
        plain = PlainLines(quiet=quiet)
        yield lambda done, total: plain.say(f"{what}: {done:,} of {total:,}")
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class PlainLines:
    """Says a line if the last is `EVERY` seconds ago, with the time since the start."""

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._clock = clock
        self._started = self._said = clock()

    def say(self, line: str) -> None:
        """Say the line, or nothing."""
        now = self._clock()
        if self._quiet or now - self._said < EVERY:
            return
        self._said = now
        say(f"{now - self._started:5.0f} s  {line}")
