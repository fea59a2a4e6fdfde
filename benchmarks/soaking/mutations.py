"""Damaged files: every kind that a user hands over, changed at random, in the commands that open it.

Right is an error of ours in one line with its exit code and nothing written, or a file that still is one. They are
tried in processes of their own, so that one that dies or hangs is found and has a number.
"""

import atexit
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from .damage import damaged
from .desk import Desk, Row, Step
from .kinds import Case, Kind, kinds

WORKERS = 2
HANGS_S = 300  # no command here takes 20 s; a machine may be busy


def steps(desk: Desk) -> Iterator[Step]:
    """One for each kind of file."""
    for kind in kinds(desk):
        yield Step(f"damaged {kind.what}", partial(try_kind, kind))


def try_kind(kind: Kind, desk: Desk) -> Row:
    """All mutations of a kind."""
    whole, numbers = desk.count(kind.whole), count()

    def work(worker: Worker) -> list[str]:
        wrong, worker.cpu_seconds = list[str](), 0.0
        while (number := next(numbers)) < whole:
            problem = worker.ask(kind, number)
            if problem is not None:
                wrong.append(f"mutation {number}, {problem}")
        return wrong

    with ThreadPoolExecutor(WORKERS) as pool:
        wrong = [problem for found in pool.map(work, workers(desk)) for problem in found]
    cpu = sum(worker.cpu_seconds for worker in workers(desk))
    what = f"damaged files: {kind.what}"
    return Row(what, whole, tuple(wrong), "done, or one line and nothing left", cpu_seconds=cpu)


class Worker:
    """A process that tries one mutation after the other, and another one when it dies."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.cpu_seconds = desk, 0.0
        self.start()
        atexit.register(self.end)

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(self.desk, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, kind: Kind, number: int) -> str | None:
        """What is wrong with a mutation."""
        try:
            self.pipe.send((kind, number))
            if self.pipe.poll(HANGS_S):
                problem: str | None
                problem, seconds = self.pipe.recv()
                self.cpu_seconds += seconds
                return problem
            problem = f"no end after {HANGS_S} s"
            self.process.kill()
        except (EOFError, ConnectionError):
            problem = "the process ended"
        self.process.join()
        code = self.process.exitcode
        self.start()
        return f"{problem}, exit code {code}"

    def end(self) -> None:
        with suppress(ConnectionError):
            self.pipe.send(None)
        self.process.join()


@cache
def workers(desk: Desk) -> list[Worker]:
    """Started once, for it takes seconds; they end with this process."""
    return [Worker(desk) for _ in range(WORKERS)]


def serve(desk: Desk, pipe: Connection) -> None:
    """Answer kinds and numbers with what is wrong, in copies of the sound files."""
    copies: dict[str, Path] = {}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    with tempfile.TemporaryDirectory(dir=desk.folder) as folder, Path(folder, "stderr.txt").open("w") as log:
        os.dup2(log.fileno(), 2)  # libtiff says there what Pillow raises
        while (asked := pipe.recv()) is not None:
            kind, number = asked
            started = time.process_time()
            if kind.what not in copies:
                copies[kind.what] = Path(shutil.copytree(kind.folder, Path(folder, str(len(copies)), "copy")))
            problem = try_one(kind, desk, number, copies[kind.what])
            pipe.send((problem, time.process_time() - started))


def try_one(kind: Kind, desk: Desk, number: int, folder: Path) -> str | None:
    """What is wrong with mutation `number`, made in `folder`, which is as it was when this returns."""
    random: Random = desk.random(f"{kind.what} {number}")
    name = random.choice(kind.files)
    sound = (kind.folder / name).read_bytes()
    # Written anew: files of a bundle may be links to each other.
    (folder / name).unlink()
    (folder / name).write_bytes(damaged(sound, name, random))
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        try:
            problem = kind.use(Case(folder, name, sound, Path(scratch)))
        except Exception as error:  # noqa: BLE001  that is what is looked for
            problem = f"{type(error).__name__}: {str(error)[:200]}"
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_bytes(sound)
    return None if problem is None else f"{name}: {problem}"
