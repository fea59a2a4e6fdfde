"""`--engine` and `--device`: what runs a bundle, and what is said when it cannot."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_edge.assets import heldout_crops
from nexus_edge.bundle import Bundle

pytestmark = pytest.mark.slow

Run = Callable[..., Any]


@pytest.mark.parametrize("command", ["run", "chat", "bench"])
def test_devices_and_engines_that_are_not_there(command: str, tiny_openvino: Bundle, run_command: Run) -> None:
    options = ("-q", "--prompt", "Hi") if command == "run" else ("-q",)
    folder = tiny_openvino.root
    run_command(command, folder, *options, "--device", "TPU").assert_error(2, "no device 'TPU'; did you mean")
    run_command(command, folder, *options, "--device", "cpu").assert_error(2, "no device 'cpu'; did you mean 'CPU'?")
    run_command(command, folder, *options, "--engine", "onx").assert_error(2, "no engine 'onx'; did you mean 'onnx'?")
    run_command(command, folder, *options, "--engine", "coreml").assert_error(
        2, "exported for openvino, onnx, and engine 'coreml' runs graphs for coreml; leave"
    )
    run_command(command, folder, *options, "--engine", "onnx", "--device", "GPU").assert_error(2, "OpenVINO's to use")


@pytest.mark.parametrize("command", ["classify", "embed", "search"])
@pytest.mark.parametrize("choice", [("--engine", "openvino"), ("--device", "GPU")])
def test_towers_too(command: str, choice: tuple[str, str], desk: Path, run_command: Run) -> None:
    """The toy is for ONNX Runtime only."""
    bundle, index = desk / "out" / "toy-dual", desk / "index.safetensors"
    assert run_command("embed", bundle, "images", "-o", index, "--engine", "onnx").exit_code == 0
    options = {
        "classify": (bundle, "images", "--labels", "a,b", "-q"),
        "embed": (bundle, "images", "-o", index, "-q"),
        "search": (bundle, "text", "--index", index, "-q"),
    }[command]
    run_command(command, *options, *choice).assert_error(
        2, "exported for onnx, and ", "engine 'openvino'", "runs graphs for openvino"
    )


def test_each_engine_answers(tiny_openvino: Bundle, run_command: Run) -> None:
    answers = {
        engine: json.loads(
            run_command(
                "run", tiny_openvino.root, "-p", "Hello", "--engine", engine, "--max-new-tokens", "5", "--json"
            ).stdout
        )["answer"]
        for engine in ("onnx", "openvino", "auto")
    }
    assert len(set(answers.values())) == 1


def test_the_evaluator_says_that_it_is_one(
    coreml_dual: Bundle, run_command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nexus_edge.engines.coreml import native as coreml_native

    monkeypatch.setattr(coreml_native, "is_native", lambda: False)
    cell = Path(heldout_crops.__file__).parent / "tiny_biomedclip/heldout/cell_000.jpg"
    result = run_command("classify", coreml_dual.root, cell, "--bank", "blood-cells")
    assert result.exit_code == 0 and "white blood cell" in result.stdout
    assert "an evaluator computes what it would, slowly" in result.stderr
