"""`pytest --nexus-edge`, run in a process of its own as a user would."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from lxml import etree

from nexus_edge.bundle import Bundle

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PLUGIN = "nexus_edge.pytest_plugin"


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    installed = any(point.value == PLUGIN for point in entry_points(group="pytest11"))
    command = [sys.executable, "-m", "pytest", *([] if installed else ["-p", PLUGIN]), *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_it_is_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"nexus-edge": PLUGIN}


def test_a_test_for_each_stage_beside_the_users_own(tmp_path: Path, replayable: Bundle) -> None:
    (tmp_path / "test_own.py").write_text("def test_mine(): pass\n")
    done = run(tmp_path, "--nexus-edge", replayable.root, "--nexus-edge-verify", "-v", "--junit-xml=out.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("test_mine", "onnx: tokens", "onnx: embed_tokens", "onnx: decoder", "onnx: greedy tokens", "verdict"):
        assert f"::{name} PASSED" in done.stdout
    names = [case.get("name") for case in etree.parse(tmp_path / "out.xml").iter("testcase")]
    assert "onnx: decoder" in names


def test_drift_fails_its_own_stage_and_says_what_was_measured(tmp_path: Path, drifted: Bundle) -> None:
    done = run(tmp_path, "--nexus-edge", drifted.root, "--nexus-edge-verify", "-v")
    assert done.returncode == 1
    assert "::onnx: embed_tokens PASSED" in done.stdout
    assert "::onnx: decoder FAILED" in done.stdout
    assert "relative L2 0.1, needs <=" in done.stdout
    assert "why this limit:" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_rung_that_cannot_run_fails_unless_it_may_be_skipped(tmp_path: Path, replayable: Bundle) -> None:
    """The toy comes from no checkpoint."""
    options = ("--nexus-edge-rungs", "p2,P4", "--nexus-edge-allow-skip", "P2")
    done = run(tmp_path, "--nexus-edge", replayable.root, "-v", *options)
    assert "::P2 SKIPPED" in done.stdout, done.stdout + done.stderr
    assert "::P4 FAILED" in done.stdout
    assert "P4 was not run" in done.stdout
    assert "P0" not in done.stdout
    assert done.returncode == 1
    assert run(tmp_path, "--nexus-edge", replayable.root, "--nexus-edge-rungs", "P9").returncode == 4


def test_a_rejected_bundle_is_not_cleared_by_some_rungs(tmp_path: Path, replayable: Bundle) -> None:
    root = shutil.copytree(replayable.root, tmp_path / "rejected")
    Bundle.open(root).with_parity({"verdict": "rejected", "reason": "P3: 1 of 2 checks failed"})
    done = run(tmp_path, "--nexus-edge", root, "-v", "--nexus-edge-rungs", "P0")
    assert "::verdict FAILED" in done.stdout, done.stdout + done.stderr
    assert "which only the whole ladder can clear: P3: 1 of 2 checks failed" in done.stdout
    assert done.returncode == 1
    unasked = run(tmp_path, "--nexus-edge", root, "--nexus-edge-rungs", "P0", "--nexus-edge-allow-skip", "P3")
    assert unasked.returncode == 4 and "P3: is not among P0" in unasked.stderr


def test_wrong_options_are_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "--nexus-edge", tmp_path / "nowhere", "--nexus-edge-verify")
    assert done.returncode == 4
    assert done.stderr.count("\n") <= 2
    assert "is not a bundle" in done.stderr


def test_workers_say_what_is_wrong_with_a_bundle(tmp_path: Path) -> None:
    pytest.importorskip("xdist", reason="its workers run what a user's -n 2 runs")
    done = run(tmp_path, "--nexus-edge", "nowhere", "-n", "2", "--junit-xml=out.xml")
    assert done.returncode == 1 and "INTERNALERROR" not in done.stdout
    assert "--nexus-edge nowhere: " in done.stdout and "is not a bundle" in done.stdout
    (case,) = etree.parse(tmp_path / "out.xml").iter("testcase")
    assert case.get("name") == "bundle" and case.find("failure") is not None


def test_bundles_of_one_name_are_told_apart(tmp_path: Path, replayable: Bundle) -> None:
    for folder in ("a", "b"):
        shutil.copytree(replayable.root, tmp_path / folder / "same")
    done = run(
        tmp_path, "--nexus-edge", "a/same", "--nexus-edge", "b/same", "--nexus-edge-rungs", "P0", "--collect-only"
    )
    assert "nexus-edge:a/same" in done.stdout and "nexus-edge:b/same" in done.stdout


def test_without_the_option_nothing_heavy_is_imported(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        "import sys\n"
        "def test_mine():\n"
        f"    assert '{PLUGIN}' in sys.modules\n"
        "    assert not {'numpy', 'onnxruntime', 'torch', 'typer', 'nexus_edge.parity'} & sys.modules.keys()\n"
    )
    done = run(tmp_path, "-p", "no:hypothesispytest", "-p", "no:xdist")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--nexus-edge", ""), "--nexus-edge is an empty path"),
        (("--nexus-edge=",), "--nexus-edge is an empty path"),
        (("--nexus-edge", "x", "--nexus-edge-rungs", ""), "--nexus-edge-rungs is empty"),
        (("--nexus-edge", "x", "--nexus-edge-allow-skip", " "), "--nexus-edge-allow-skip is empty"),
        (("--nexus-edge-verify",), "--nexus-edge-verify: of which bundle"),
        (("--nexus-edge-rungs", "P0"), "--nexus-edge-rungs: of which bundle"),
    ],
)
def test_an_option_that_would_gate_nothing(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """The user's own test would be green, and nobody would see that the bundle was not looked at."""
    (tmp_path / "test_own.py").write_text("def test_mine(): pass\n")
    done = run(tmp_path, *arguments)
    assert done.returncode == 4 and f"ERROR: {words}" in done.stderr, done.stdout + done.stderr
