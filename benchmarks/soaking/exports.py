"""Exports that are killed, and exports whose disk fills: what stands at their place is whole.

Half of the moments are those of a clock, half are calls that touch the bundle's files, for the last steps of an export
take milliseconds. A disk of a chosen size is a tmpfs in a mount namespace, which root has, and other users of most
Linux systems.
"""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError

from .desk import Desk, Row, Step

EXPORT = ("export", "biomedclip", "--int8", "--checkpoint", "tiny", "--no-parity", "--quiet")
HOOKED = Path(__file__).with_name("hooked.py")
KILLS, FULL, SMALL = 100, 20, 10
STEPS = 4  # of the kills
WHOLE = 'import sys; from nexus_edge.bundle import Bundle; Bundle.open(sys.argv[1], check="sha256"); print("whole")'


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "nexus_edge", *EXPORT, "--out", str(out), *more]


def hooked(what: str, at: int, folder: Path, *more: str) -> list[str]:
    """An export to `folder`/bundle to which something happens; see hooked.py."""
    return [sys.executable, str(HOOKED), what, str(at), str(folder), *EXPORT, "--out", str(folder / "bundle"), *more]


def kills(desk: Desk) -> Iterator[Step]:
    """SIGKILL during an export, half of the time over a bundle that is there."""
    for part in range(STEPS):
        yield Step(f"kills {part + 1} of {STEPS}", partial(kill_some, f"kills {part}"))


def kill_some(name: str, desk: Desk) -> Row:
    """A quarter of all kills, on two folders at a time: one that stays empty, and one with a bundle."""
    measured, tries = measure(desk.folder / "measured"), desk.count(KILLS // STEPS)

    def kill_over(over: bool) -> list[str]:
        random, wrong = desk.random(f"{name} {over}"), list[str]()
        folder, more = desk.folder / name / ("present" if over else "fresh"), ["--force"] if over else []
        out = folder / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if over:
            shutil.copytree(desk.folder / "measured" / "bundle", out)
        for number in range(over, tries, 2):
            if number // 2 % 2:
                seconds = random.uniform(0, measured.seconds)
                kill_after(seconds, command(out, *more))
                when = f"after {seconds:.2f} of {measured.seconds:.1f} s"
            else:
                at = random.randint(1, measured.calls[over])
                subprocess.run(hooked("kill", at, folder, *more), check=False, capture_output=True)
                when = f"before call {at} of {measured.calls[over]}"
            problem = _problem(out)
            if problem or (over and not out.exists()):
                wrong.append(f"killed {when}: {problem or 'the bundle that was there is gone'}")
            if not over:
                shutil.rmtree(out, ignore_errors=True)
        after = subprocess.run(command(out, "--force"), check=False, capture_output=True, text=True)
        if after.returncode:
            wrong.append(f"the export after the kills: exit code {after.returncode}, {after.stderr.strip()[-200:]}")
        left = [path.name for path in folder.iterdir() if path != out]
        return [*wrong, f"left behind by a killed export after the next one: {left}"] if left else wrong

    with ThreadPoolExecutor(2) as pool:
        wrong = [problem for found in pool.map(kill_over, (False, True)) for problem in found]
    return Row("kill -9 during an export", tries, tuple(wrong), "nothing there, or all of it; nothing left by the next")


@dataclass(frozen=True)
class Measured:
    """An export that nothing happens to: seconds, and calls that touch its files, without and with a bundle there."""

    seconds: float
    calls: tuple[int, int]


@cache
def measure(folder: Path) -> Measured:
    """Export twice to `folder`/bundle, which stays there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    calls = []
    for _ in range(2):
        started = time.perf_counter()
        done = subprocess.run(hooked("count", 0, folder, "--force"), check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        calls.append(int(done.stderr.split()[-1]))
    return Measured(seconds, (calls[0], calls[1]))


def kill_after(seconds: float, arguments: list[str]) -> None:
    """Start a process, and kill it if it is not done before."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


def full_disks(desk: Desk) -> Iterator[Step]:
    """Disks that fill in the middle of an export, and disks that are too small from its beginning."""
    yield Step("disks that fill", fill_disks)
    yield Step("disks too small", small_disks)


def fill_disks(desk: Desk) -> Row:
    """The disk is filled before a random call that touches the bundle's files."""
    random, calls = desk.random("fill"), measure(desk.folder / "measured").calls[0]

    def full(at: int) -> str | None:
        disk = desk.folder / f"fills at {at}"
        return _refused(disk, 64 * 2**20, hooked("fill", at, disk), f"full from call {at} of {calls}")

    moments = random.sample(range(1, calls + 1), desk.count(FULL))
    with ThreadPoolExecutor(2) as pool:
        wrong = tuple(filter(None, pool.map(full, moments)))
    return Row("export onto a disk that fills", len(moments), wrong, "exit 2 and one line, or whole")


def small_disks(desk: Desk) -> Row:
    """Too small by a random share of the bundle."""
    measure(desk.folder / "measured")
    random, whole = desk.random("small"), desk.folder / "measured" / "bundle"
    size = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())

    def small(room: int) -> str | None:
        disk = desk.folder / f"has {room}"
        return _refused(disk, room, command(disk / "bundle"), f"{room:,} of {size:,} bytes")

    rooms = [random.randrange(4096, size - size // 20) for _ in range(desk.count(SMALL))]
    with ThreadPoolExecutor(2) as pool:
        wrong = tuple(filter(None, pool.map(small, rooms)))
    return Row("export onto a disk too small", len(rooms), wrong, "exit 2 and one line, or whole")


def _refused(disk: Path, size: int, export: list[str], when: str) -> str | None:
    """What is wrong with how an export to `disk`/bundle ends, on a disk of `size` bytes.

    Refused in one line and nothing left; or done with all of it, where the disk was full only after the last byte.
    """
    disk.mkdir(exist_ok=True)
    script = f"""mount -t tmpfs -o size="$1" none "$0" && cd / && shift && "$@"; code=$?; ls -A "$0" >&2
        [ $code != 0 ] || {sys.executable} -c '{WHOLE}' "$0/bundle" >&2; exit $code"""
    # A user who is not root is root of a namespace of his own.
    result = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script, str(disk), str(size), *export],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in result.stderr.splitlines() if line != "filler"]
    if result.returncode == 2 and len(lines) == 1 and lines[0].startswith("error: "):
        return None
    if result.returncode == 0 and lines == ["bundle", "whole"]:
        return None
    return f"{when}: exit {result.returncode}, {lines[-3:]}"


def _problem(out: Path) -> str | None:
    """Why what opens at `out` is not whole; None where nothing opens, or all of it."""
    if not out.exists():
        return None
    try:
        Bundle.open(out, check="sha256")
    except BundleError as error:
        return str(error)
    return None
