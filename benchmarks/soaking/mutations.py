"""Damaged files: every kind that a user hands over, changed at random, in the commands that open it.

Right is an error of ours in one line with its exit code and nothing written, or a file that still is one. They are
tried in processes of their own, so that one that dies or hangs is found and has a number.
"""

import multiprocessing
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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

    def work(_: int) -> list[str]:
        wrong: list[str] = []
        worker = Worker.start(kind, desk)
        while (number := next(numbers)) < whole:
            problem = worker.ask(number)
            if problem is not None:
                wrong.append(f"mutation {number}, {problem}")
            if not worker.process.is_alive():
                worker = Worker.start(kind, desk)
        worker.end()
        return wrong

    with ThreadPoolExecutor(WORKERS) as pool:
        wrong = [problem for found in pool.map(work, range(WORKERS)) for problem in found]
    return Row(f"damaged files: {kind.what}", whole, tuple(wrong), "done, or one line and nothing left")


@dataclass(frozen=True)
class Worker:
    """A process that tries one mutation after the other."""

    process: multiprocessing.Process
    pipe: Connection

    @classmethod
    def start(cls, kind: Kind, desk: Desk) -> "Worker":
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(kind, desk, theirs), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours)

    def ask(self, number: int) -> str | None:
        """What is wrong with a mutation."""
        try:
            self.pipe.send(number)
            if self.pipe.poll(HANGS_S):
                problem: str | None = self.pipe.recv()
                return problem
        except (EOFError, ConnectionError):
            self.process.join()
            return f"the process ended with {self.process.exitcode}"
        self.process.kill()
        self.process.join()
        return f"no end after {HANGS_S} s"

    def end(self) -> None:
        self.pipe.send(None)
        self.process.join()


def serve(kind: Kind, desk: Desk, pipe: Connection) -> None:
    """Answer numbers with what is wrong, in a copy of the sound files."""
    with tempfile.TemporaryDirectory(dir=desk.folder) as folder:
        copy = Path(shutil.copytree(kind.folder, Path(folder, "copy")))
        while (number := pipe.recv()) is not None:
            problem = try_one(kind, desk, number, copy)
            pipe.send(problem)


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
