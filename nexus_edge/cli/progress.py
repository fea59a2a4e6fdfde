"""Progress on stderr: one line with the step that runs and how far it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def step_bar(*, quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Yield what an export or a ladder calls with a step's name and the share that is done, 0..1.

    The line vanishes at the end. Without a terminal, or `quiet`, nothing is shown.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<24}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(
        *columns, TimeElapsedColumn(), console=console, disable=quiet or not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda step, share: bar.update(task, description=step, completed=share)


@contextmanager
def count_bar(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield what is called with the number of `what` that are done, and that of all.

    The line vanishes at the end. Without a terminal, or `quiet`, nothing is shown.
    """
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
