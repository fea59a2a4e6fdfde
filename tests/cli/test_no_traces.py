"""No network, no files but those asked for: commands under a tracer, with a home that is empty before and after.

What is promised stands in README, "Limits". ONNX Runtime and OpenVINO would each report their import to their maker.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from nexus_edge.bundle import Bundle

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SMEAR = ROOT / "nexus_edge" / "assets" / "tiny_biomedclip" / "heldout" / "cell_000.jpg"
TRACED = "trace=socket,connect,sendto,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2"
TRACER = ("strace", "-f", "--seccomp-bpf", "-qq", "-e", TRACED, "-o")
# Not of this package: what Linux offers to every process.
DEVICES = ("/dev/", "/proc/", "/sys/")

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (Debian: strace)")


@dataclass(frozen=True)
class Desk:
    """Folders of one traced command: `home` and `temporary` must be empty afterwards; `work` is where it runs."""

    root: Path

    def __post_init__(self) -> None:
        for folder in (self.home, self.temporary, self.work):
            folder.mkdir()

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    @property
    def work(self) -> Path:
        return self.root / "work"

    def run(self, *arguments: object) -> str:
        """The command's traced calls, one a line, after it ended well."""
        log = self.root / "calls.txt"
        result = subprocess.run(
            [*TRACER, str(log), sys.executable, "-m", "nexus_edge", *map(str, arguments)],
            cwd=self.work,
            # No variable of this process that would hide a lookup: CI, for one, switches OpenVINO's reports off.
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "TMPDIR": str(self.temporary),
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
                "OMP_NUM_THREADS": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert [*self.home.rglob("*")] == []
        # torch makes an empty folder there when it exports a graph.
        assert [path for path in self.temporary.rglob("*") if path.is_file()] == []
        return log.read_text(errors="replace")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    root = tmp_path / "desk"
    root.mkdir()
    return Desk(root)


def sockets(calls: str) -> list[str]:
    """Calls that open a socket or use one, but for those within the machine: torch asks for the user's name."""
    found = re.findall(r"^\d+\s+(?:socket|connect|sendto)\(.*$", calls, re.MULTILINE)
    return [call for call in found if "AF_UNIX" not in call]


def written(calls: str, *allowed: Path) -> list[str]:
    """Paths that were created or opened for writing, outside of `allowed`."""
    # Of a call that another thread's line cuts in two, only the beginning has the path.
    done = r"(?:[^)\n]*\)\s+= \d|[^)\n]*<unfinished)"
    opened = rf'(?:open|openat)\([^"\n]*"([^"\n]+)", [^)\n]*O_(?:WRONLY|RDWR|CREAT){done}'
    made = rf'(?:creat|mkdir|mkdirat)\([^"\n]*"([^"\n]+)"{done}'
    moved = rf'rename(?:at2?)?\([^"\n]*"[^"\n]+", [^"\n]*"([^"\n]+)"{done}'
    found = {path for pattern in (opened, made, moved) for path in re.findall(pattern, calls)}
    places = (*map(str, allowed), *DEVICES)
    return sorted(path for path in found if path.startswith("/") and not path.startswith(places))


@needs_strace
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_an_answer_opens_no_socket_and_leaves_no_file(desk: Desk, tiny_openvino: Bundle, engine: str) -> None:
    image = ROOT / "nexus_edge" / "assets" / "tiny_phi3_v" / "heldout" / "004.png"
    calls = desk.run(
        "run", tiny_openvino.root, "--engine", engine, "-i", image, "-p", "What is shown?", "--max-new-tokens", 4
    )
    assert sockets(calls) == []
    assert written(calls, desk.temporary) == []
    assert [*desk.work.iterdir()] == []


@needs_strace
def test_an_export_its_proof_and_its_use_write_into_the_bundle_alone(desk: Desk) -> None:
    bundle = desk.work / "bundle"
    calls = desk.run("export", "biomedclip", "--int8", "--checkpoint", "tiny", "--out", bundle, "-q")
    assert sockets(calls) == []
    assert written(calls, desk.work, desk.temporary) == []
    for command in (("verify", bundle), ("classify", bundle, "--bank", "blood-cells", SMEAR)):
        calls = desk.run(*command)
        assert sockets(calls) == []
        assert written(calls, desk.temporary) == []
    assert [*desk.work.iterdir()] == [bundle]


@needs_strace
def test_the_tracer_sees_what_these_tests_exclude(desk: Desk, tmp_path: Path) -> None:
    log, script = tmp_path / "calls.txt", "import socket; socket.create_connection(('127.0.0.1', 9))"
    script = f"open({str(desk.home / 'x')!r}, 'w').close(); {script}"
    subprocess.run(
        [*TRACER, str(log), sys.executable, "-c", script],
        capture_output=True,
        check=False,
    )
    calls = log.read_text(errors="replace")
    assert sockets(calls)
    assert str(desk.home / "x") in written(calls, desk.temporary)


def test_every_import_of_a_reporting_library_is_silenced() -> None:
    loud = []
    for path in sorted((ROOT / "nexus_edge").rglob("*.py")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            indent = len(line) - len(line.lstrip())
            if re.match(r"\s*(?:import|from) (?:openvino|onnxruntime)", line) and not _inside_guard(
                path, number, indent
            ):
                loud.append(f"{path.relative_to(ROOT)}:{number}")
    assert loud == []


def _inside_guard(path: Path, number: int, indent: int) -> bool:
    """Whether the nearest line above with less indentation is the guard."""
    for line in reversed(path.read_text("utf-8").splitlines()[: number - 1]):
        if line.strip() and len(line) - len(line.lstrip()) < indent:
            return line.strip() == "with without_telemetry():"
    return False
