"""What is in a bundle, which there are, and whether this installation works."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.cli import checkup
from nexus_edge.cli.bundle_facts import BundleFacts, readable

Run = Callable[..., Any]


def test_info_says_what_is_in_a_bundle(run_command: Run, toy_bundle: Bundle) -> None:
    result = run_command("info", toy_bundle.root)
    assert (result.exit_code, result.stderr) == (0, "")
    size = sum(
        path.stat().st_size for path in toy_bundle.root.rglob("*") if path.name != "manifest.json" and path.is_file()
    )
    for part in (
        "synthesized numbers of the full model's shape",
        "decoder: float32",
        f"size        {readable(size)} (onnx ",
        "900 tokens, prompt, images and answer together",
        "not run: nothing has shown yet",
    ):
        assert part in result.stdout


def test_info_as_json(run_command: Run, dual_bundle: Bundle) -> None:
    said = json.loads(run_command("info", dual_bundle.root, "--json").stdout)
    assert said["model_type"] == "biomedclip"
    assert said["bytes"] == sum(file.size for file in dual_bundle.manifest.files.values())
    assert said["embed_dim"] == dual_bundle.manifest.dual_encoder.embed_dim  # type: ignore[union-attr]
    assert set(said["graphs"]["onnx"]) == set(dual_bundle.manifest.graphs["onnx"])


def test_a_rejected_bundle_says_so(toy_bundle: Bundle) -> None:
    parity = {"verdict": "rejected", "reason": "P3, decoder: relative L2 0.2, needs 0.03", "rungs": {"P3": "failed"}}
    facts = BundleFacts.of(replace(toy_bundle, manifest=replace(toy_bundle.manifest, parity=parity)))
    assert facts.verdict == "rejected" and "P3, decoder" in facts.reason


def test_info_of_no_bundle(run_command: Run, tmp_path: Path) -> None:
    run_command("info", tmp_path).assert_error(2, "is not a bundle (it has no manifest.json)")
    run_command("info", tmp_path / "none").assert_error(2, "is not a bundle (there is no such folder)")
    (tmp_path / "file").touch()
    run_command("info", tmp_path / "file").assert_error(2, "is not a bundle (it is a file)")


def test_list_finds_bundles_recipes_and_label_sets(run_command: Run, desk: Path) -> None:
    (desk / "out" / "broken").mkdir()
    (desk / "out" / "broken" / "manifest.json").write_text("{", encoding="utf-8")
    result = run_command("list")
    assert result.exit_code == 0
    assert "out/toy-dual" in result.stdout and "parity not run, onnx, synthetic weights" in result.stdout
    assert "phi3-vision    fp16, fp32, int4, int8" in result.stdout and "pcam" in result.stdout
    assert (
        result.stderr.startswith("no bundle: out/broken/manifest.json: is not valid JSON")
        and result.stderr.count("\n") == 1
    )
    said = json.loads(run_command("list", "out", "--json").stdout)
    assert [one["name"] for one in said["bundles"]] == ["toy-dual"]
    assert [one["folder"] for one in said["broken"]] == ["out/broken"]
    assert said["models"]["biomedclip"] == ["fp16", "fp32", "int4", "int8"]


def test_list_of_one_bundle_of_none_and_of_no_folder(run_command: Run, desk: Path, tmp_path: Path) -> None:
    assert "toy-dual" in run_command("list", "out/toy-dual").stdout
    assert run_command("list", "images").stdout.startswith("no bundles in images\n")
    run_command("list", "nowhere").assert_error(2, "nowhere: no such folder")


def test_doctor_looks_at_this_machine(run_command: Run) -> None:
    import numpy
    import onnxruntime

    result = run_command("doctor", "--json")
    said = json.loads(result.stdout)
    assert result.exit_code == (2 if said["problems"] else 0)
    assert said["versions"]["numpy"] == numpy.__version__
    assert onnxruntime.__version__ in said["engines"][0]["state"] and said["engines"][0]["usable"]
    assert {one["name"] for one in said["extras"]} == {"export", "openvino", "coreml", "dicom"}
    assert {one["name"] for one in said["places"]} == {"bundles", "tuning", "downloads"}


def test_doctor_names_what_is_missing(run_command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy>=1.26", "no-such-base>=1", "torch>=2 ; extra == 'export'", 'no-such-extra; extra == "dicom"']
    monkeypatch.setattr("importlib.metadata.requires", lambda name: lines)
    result = run_command("doctor")
    assert result.exit_code == 2
    assert "dicom: missing no-such-extra: pip install 'nexus-edge[dicom]'" in result.stdout
    assert "export: installed" in result.stdout
    assert result.stderr == "problem: no-such-base is not installed; run pip install nexus-edge again\n"


def test_requirements_of_the_installed_package() -> None:
    found = checkup.requirements()
    assert "onnxruntime" in found[""] and "torch" in found["export"] and "torch" not in found[""]


def test_a_folder_that_cannot_be_written_to_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert [place.writable for place in checkup._places({"HF_HUB_CACHE": str(tmp_path / "a" / "b")})] == [False] * 3


@pytest.mark.parametrize(("size", "text"), [(0, "0.0 kB"), (64_200, "64.2 kB"), (1e6, "1.0 MB"), (2.41e9, "2.4 GB")])
def test_sizes_are_readable(size: float, text: str) -> None:
    assert readable(int(size)) == text
