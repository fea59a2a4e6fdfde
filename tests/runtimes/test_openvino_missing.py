"""Where OpenVINO is not installed: what needs it says which extra brings it, and what does not need it runs."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nexus_edge.bundle import Bundle

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]
EXTRA = "pip install 'nexus-edge[openvino]'"


@pytest.fixture
def without(tmp_path: Path) -> Run:
    """(package, command...) -> the command where that package is not installed."""

    def run(package: str, *command: object) -> subprocess.CompletedProcess[str]:
        code = (
            f"import sys; sys.modules[{package!r}] = None\n"  # Python's way to say: not installed
            "from nexus_edge.cli import main; main()"
        )
        arguments = [sys.executable, "-c", code, *map(str, command)]
        return subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={"PATH": "", "NEXUS_EDGE_CACHE": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        )

    return run


@pytest.fixture
def openvino(tiny_openvino: Bundle, tmp_path: Path) -> Path:
    """The tiny bundle without its other target."""
    whole = tiny_openvino.manifest
    shutil.copytree(tiny_openvino.root, tmp_path / "bundle", ignore=shutil.ignore_patterns("onnx"))
    files = {name: info for name, info in whole.files.items() if not name.startswith("onnx/")}
    graphs = {"openvino": whole.graphs["openvino"]}
    manifest = replace(whole, graphs=graphs, files=files, targets=("openvino",))
    (tmp_path / "bundle" / "manifest.json").write_text(manifest.to_json(), "utf-8")
    return tmp_path / "bundle"


@pytest.mark.parametrize("command", ["run", "tune", "auto"])
def test_a_bundle_for_openvino_alone(command: str, without: Run, openvino: Path) -> None:
    options = ("run", openvino, "-q", "-p", "Hi")
    commands = {"run": options, "auto": (*options, "--engine", "auto"), "tune": ("tune", openvino)}
    done = without("openvino", *commands[command])
    assert done.returncode == 2
    assert done.stderr == f"error: engine openvino needs openvino: {EXTRA}\n"


@pytest.mark.parametrize("choice", [(), ("--engine", "auto")])
def test_a_bundle_with_another_target_runs(choice: tuple[str, ...], without: Run, tiny_openvino: Bundle) -> None:
    """OpenVINO's is its first, and what was found to be the fastest."""
    done = without("openvino", "run", tiny_openvino.root, "-q", "-p", "Hi", "--max-new-tokens", 4, *choice)
    assert (done.returncode, done.stderr) == (0, "")
    done = without("openvino", "run", tiny_openvino.root, "-q", "-p", "Hi", "--engine", "openvino")
    assert done.returncode == 2
    assert EXTRA in done.stderr


def test_an_export() -> None:
    """Before anything is computed: a target is made first of all."""
    script = """
import sys
from nexus_edge.errors import MissingExtraError
from nexus_edge.targets import make_target
from nexus_edge.recipe import find_recipe
for package in ("transformers", "openvino_tokenizers", "openvino"):
    sys.modules[package] = None
    try:
        make_target("openvino", find_recipe("phi3-vision", "int4"), ())
    except MissingExtraError as error:
        print(error)
    del sys.modules[package]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"target openvino needs {package}: {EXTRA}" for package in ("transformers", "openvino_tokenizers", "openvino")
    ]
