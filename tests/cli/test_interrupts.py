"""Ctrl-C at any moment, from the first import on: one line, exit code 130, and an object with --json."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The interrupt comes in the middle of a module's import; the command then waits for a file longer than it may take.
SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.1)
sys.meta_path.insert(0, Slow())
from nexus_edge import _text
_text.read_bytes = lambda path: time.sleep(600)
sys.argv[1:] = {arguments!r}
from nexus_edge.cli import main
main()
"""


@pytest.mark.parametrize("name", ["nexus_edge.cli.app", "typer.core", "nexus_edge.cli.run", "numpy"])
def test_in_the_middle_of_an_import(name: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").touch()
    script = SLOW.format(name=name, arguments=["run", str(tmp_path), "-p", "What is shown?", "--json"])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")
    assert json.loads(done.stdout) == {"error": {"kind": "Interrupted", "message": "interrupted", "exit_code": 130}}


# A context manager of a library that fails over the interrupt, as torch's tracer does, at the file that `run` opens.
REPLACED = """
import contextlib
from nexus_edge import _text
def interrupted(path):
    with contextlib.ExitStack() as stack:
        stack.callback({replaces})
        raise {first}
_text.read_bytes = interrupted
import sys
sys.argv[1:] = {arguments!r}
from nexus_edge.cli import main
main()
"""


def _replaced(folder: Path, first: str, replaces: str) -> "subprocess.CompletedProcess[str]":
    (folder / "manifest.json").touch()
    script = REPLACED.format(first=first, replaces=replaces, arguments=["run", str(folder), "-p", "What is shown?"])
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


def test_an_error_in_the_place_of_an_interrupt(tmp_path: Path) -> None:
    done = _replaced(tmp_path, "KeyboardInterrupt", "lambda: [].pop()")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


def test_an_error_over_another_error_keeps_its_traceback(tmp_path: Path) -> None:
    done = _replaced(tmp_path, "RuntimeError('tracer')", "lambda: [].pop()")
    assert done.returncode == 1
    assert "IndexError: pop from empty list" in done.stderr
