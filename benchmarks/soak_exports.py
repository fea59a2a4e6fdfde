"""Exports that are killed at a random moment, and exports whose disk fills: what stands at their place is whole.

A disk of a chosen size is a tmpfs in a mount namespace, which root has, and other users of most Linux systems.
"""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from soak_parts import Desk, Row

from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError

EXPORT = ("export", "biomedclip", "--int8", "--checkpoint", "tiny", "--no-parity", "--quiet")
KILLS, DISKS = 100, 20


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "nexus_edge", *EXPORT, "--out", str(out), *more]


def run_kills(desk: Desk) -> list[Row]:
    """SIGKILL at a random moment of an export, half of the time over a bundle that is there."""
    random = desk.random("kills")
    fresh, present = desk.folder / "fresh" / "bundle", desk.folder / "present" / "bundle"
    started = time.perf_counter()
    for out in (fresh, present):
        subprocess.run(command(out), check=True, capture_output=True)
    longest = (time.perf_counter() - started) / 2
    shutil.rmtree(fresh)
    wrong: list[str] = []
    finished = 0
    tries = desk.count(KILLS)
    for number in range(tries):
        out = present if number % 2 else fresh
        process = subprocess.Popen(
            command(out, *(["--force"] if out == present else [])), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        after = random.uniform(0, longest)
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        finished += process.wait() == 0
        problem = _problem(out)
        if problem or (out == present and not out.exists()):
            wrong.append(f"killed after {after:.2f} s: {problem or 'the bundle that was there is gone'}")
        if out == fresh:
            shutil.rmtree(fresh, ignore_errors=True)
    for out in (fresh, present):
        subprocess.run(command(out, "--force"), check=True, capture_output=True)
        left = [path.name for path in out.parent.iterdir() if path != out]
        wrong += [f"left behind by a killed export after the next one: {left}"] if left else []
    return [
        Row("kill -9 during an export", tries, tuple(wrong), f"moments in 0 to {longest:.1f} s, {finished} were done")
    ]


def run_full_disks(desk: Desk) -> list[Row]:
    """Disks that are too small for the bundle by a random share of it."""
    random = desk.random("disks")
    whole = desk.folder / "whole"
    subprocess.run(command(whole), check=True, capture_output=True)
    size = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    wrong: list[str] = []
    tries = desk.count(DISKS)
    for _ in range(tries):
        room = random.randrange(4096, size - size // 20)
        disk = desk.folder / "disk"
        disk.mkdir(exist_ok=True)
        export = " ".join(command(disk / "bundle"))
        script = f"mount -t tmpfs -o size={room} none {disk} && {export}; code=$?; ls -A {disk} >&2; exit $code"
        # A user who is not root is root of a namespace of his own.
        result = subprocess.run(
            ["unshare", "--mount", "--map-root-user", "sh", "-c", script], capture_output=True, text=True, check=False
        )
        lines = result.stderr.splitlines()
        if result.returncode != 2 or len(lines) != 1 or not lines[0].startswith("error: "):
            wrong.append(f"{room:,} of {size:,} bytes: exit {result.returncode}, {lines[-3:]}")
    return [Row("export onto a disk that fills", tries, tuple(wrong), "exit code 2, one line, nothing left")]


def _problem(out: Path) -> str | None:
    """Why what opens at `out` is not whole; None where nothing opens, or all of it."""
    if not out.exists():
        return None
    try:
        Bundle.open(out, check="sha256")
    except BundleError as error:
        return str(error)
    return None
