"""What the comparisons with other runtimes share."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def say(text: str) -> None:
    """To the terminal, beside what is printed as the result."""
    print(text, file=sys.stderr, flush=True)


def once(done: Path, what: str, make: Callable[[], object]) -> None:
    """Make what is not there; `done` is the file that is written last."""
    if done.is_file():
        say(f"{what}: {done.parent} is there")
        return
    started = time.perf_counter()
    make()
    say(f"{what}: {done.parent} in {time.perf_counter() - started:.0f} s")


def child(script: str, *arguments: object) -> str:
    """Run a command of a benchmark in a process of its own; its output."""
    command = [sys.executable, script, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
