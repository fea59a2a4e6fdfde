"""Progress on stderr: one line with the step that runs and how far it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


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
