"""The faults of benchmarks/mutations.py: enough, of every kind, family and target. What they do is run there."""

import runpy
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return runpy.run_path(str(BENCHMARKS / "mutations.py"))


def test_there_are_enough(script: dict[str, Any]) -> None:
    faults = script["FAULTS"]
    assert len(faults) >= 60
    assert max(Counter((fault.bundle, fault.name) for fault in faults).values()) == 1, "results are kept by name"
    families, targets = zip(*(fault.bundle.split() for fault in faults), strict=True)
    assert {family.rpartition("-")[0] for family in families} == {"phi3-vision", "biomedclip"}
    assert set(targets) == {"onnx", "openvino", "coreml"}
    kinds = {"weights", "layout", "order", "positions", "configuration", "preprocessing", "cache", "structure"}
    assert {fault.kind for fault in faults} == kinds


def test_what_is_red_without_a_fault_counts_for_nothing(script: dict[str, Any]) -> None:
    """Unless the fault makes it more than twice as bad."""
    red, news = script["Red"], script["news"]
    sound = {"decoder": red(1.5, "decoder, layer 1")}
    assert news({"decoder": red(2.9, "decoder, layer 1")}, sound) == []
    assert news({"decoder": red(3.1, "decoder, layer 1")}, sound) == [red(3.1, "decoder, layer 1")]
    assert news({"vision": red(1.1, "vision")}, sound) == [red(1.1, "vision")]


def test_the_table_says_what_was_not_caught(script: dict[str, Any]) -> None:
    outcome = script["Outcome"]
    lines = script["table"](
        [
            outcome("a", "weights", "x onnx", "P4: a*", "P4", "a, layer 1", True, 1.0),
            outcome("b", "order", "x onnx", "P3: b*", "", "", False, 1.0),
        ],
        {"x onnx": 2},
    )
    assert lines.startswith("2 faults, 1 caught, 1 (50%) in the right place.")
    assert "| b | **nothing** |  | no: P3: b* |" in lines
    assert "x onnx (2 checks)" in lines


def test_derived_values_see_a_misread_configuration(script: dict[str, Any]) -> None:
    """What no rung can see, because all share the reading."""
    from faults import Scene, configuration

    assert script["red"](script["derived_values"]()) == {}
    for fault in configuration.FAULTS:
        with ExitStack() as stack:
            fault.make(Scene(None, stack))
            assert script["red"](script["derived_values"]()), fault.name


def test_code_that_a_fault_replaces_is_there(script: dict[str, Any]) -> None:
    """Else the script, which CI does not run, would end at it."""
    from faults import Scene, processing

    for fault in processing.FAULTS:
        if fault.kind == "cache" or fault.name.endswith("in code"):
            scene: Any = Scene(None, ExitStack())  # type: ignore[arg-type]
            with scene.stack:
                fault.make(scene)
