"""A bundle that its ladder rejected runs nowhere, unless somebody says that it may."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nexus_edge
from nexus_edge.bundle import Bundle
from nexus_edge.errors import ParityError
from nexus_edge.runtimes import load_dual_encoder, load_vlm

Run = Callable[..., Any]
REASON = "P4: logits (text): KL 0.5, needs <= 0.1"
IMAGES = "images"


def reject(bundle: Bundle, to: Path) -> Path:
    """A copy whose manifest says so."""
    shutil.copytree(bundle.root, to)
    manifest = replace(bundle.manifest, parity={"verdict": "rejected", "reason": REASON})
    (to / "manifest.json").write_text(manifest.to_json(), "utf-8")
    return to


@pytest.fixture
def vlm(toy_bundle: Bundle, tmp_path: Path) -> Path:
    return reject(toy_bundle, tmp_path / "toy")


@pytest.fixture
def dual(dual_bundle: Bundle, desk: Path) -> Path:
    return reject(dual_bundle, desk / "rejected")


def test_the_api_refuses_it(vlm: Path, dual: Path) -> None:
    for load, root in ((nexus_edge.load, vlm), (load_vlm, vlm), (load_dual_encoder, dual), (nexus_edge.load, dual)):
        for bundle in (root, Bundle.open(root)):
            with pytest.raises(ParityError, match=r"rejected it: P4: logits .* --allow-rejected"):
                load(bundle)
            load(bundle, allow_rejected=True)
    load_vlm(Bundle.open(vlm, allow_rejected=True))


@pytest.mark.parametrize("command", [["run", "--prompt", "hello"], ["chat"], ["bench", "--runs", "1"], ["tune"]])
def test_commands_of_answers_refuse_it(
    run_command: Run, vlm: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *options = command
    run_command(name, vlm, *options).assert_ended(3, REASON, "--allow-rejected")


@pytest.mark.parametrize(
    "command",
    [
        ["classify", IMAGES, "--labels", "red,green"],
        ["embed", IMAGES, "-o", "index.safetensors"],
        ["bank", "--labels", "red,green", "-o", "labels.safetensors"],
        ["bench", "--runs", "1"],
    ],
)
def test_commands_of_two_towers_refuse_it(run_command: Run, dual: Path, command: list[str]) -> None:
    name, *options = command
    run_command(name, dual, *options).assert_ended(3, REASON, "--allow-rejected")
    assert not Path("index.safetensors").exists() and not Path("labels.safetensors").exists()


def test_search_refuses_it(run_command: Run, dual: Path) -> None:
    assert run_command("embed", "out/toy-dual", IMAGES, "-o", "index.safetensors").exit_code == 0
    run_command("search", dual, "red", "--index", "index.safetensors").assert_ended(3, REASON)
    done = run_command("search", dual, "red", "--index", "index.safetensors", "--allow-rejected", "--json")
    assert done.exit_code == 0, done.stderr


def test_it_runs_where_that_is_allowed_and_says_so(run_command: Run, vlm: Path, dual: Path) -> None:
    done = run_command("run", vlm, "--prompt", "hello", "--max-new-tokens", "1", "--allow-rejected")
    assert done.exit_code == 0, done.stderr
    assert f"rejected by its parity ladder: {REASON}" in " ".join(done.stderr.split())
    done = run_command("classify", dual, IMAGES, "--labels", "red,green", "--allow-rejected", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["pictures"]
