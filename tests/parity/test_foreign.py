"""Checkpoints that no tolerance was set on; benchmarks/foreign_checkpoints.py judges all of them."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nexus_edge.parity.report.report import Check, Rung
from nexus_edge.parity.tolerances import Gate

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TARGETS = ("onnx", "openvino", "coreml")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import foreign_checkpoints

    return foreign_checkpoints


def test_there_are_enough(script: Any) -> None:
    for family in script.FAMILIES.values():
        assert len(family.checkpoints) >= 20
        kinds = {name.split(",")[0].split(" for ")[0] for name in family.checkpoints}
        assert kinds == {"drawn", "embedded", "fine-tuned"}


@pytest.mark.parametrize(
    ("family", "checkpoint", "scheme"),
    [
        ("biomedclip", "drawn, 16 numbers, vocabulary of 900, deviation 0.02", "int4"),
        ("phi3-vision", "drawn, vocabulary of 1,500, deviation 0.08", "int8"),
    ],
)
def test_a_sound_checkpoint_is_not_rejected(script: Any, family: str, checkpoint: str, scheme: str) -> None:
    """Untrained: candidates lie so near together that 4 bits tell few of them apart, and all rungs still pass."""
    known = script.Known({}, {family}, {(family, checkpoint, "onnx")})  # P2 has tests of its own, and takes long
    (row,) = script.judge(family, checkpoint, {scheme: ("onnx",)}, known)
    assert (row.verdict, row.failed) == ("passed", ())


def test_translations_are_those_of_an_export(script: Any, tmp_path: Path) -> None:
    """Graphs of one checkpoint's export serve another of the same architecture, whose numbers they do not hold."""
    from foreign.reuse import translated_once

    from nexus_edge.checkpoints import open_checkpoint
    from nexus_edge.pipeline.export import export
    from nexus_edge.recipe import find_recipe

    recipe = find_recipe("biomedclip", "int8").with_targets(("onnx", "openvino"))
    known: dict[Any, Any] = {}
    make: dict[str, Callable[[Path], None]] = script.FAMILIES["biomedclip"].checkpoints
    names = [f"drawn, 16 numbers, vocabulary of 900, deviation {std}" for std in (0.02, 0.08)]
    for number, name in enumerate(names):
        make[name](tmp_path / f"checkpoint {number}")
        checkpoint = open_checkpoint(str(tmp_path / f"checkpoint {number}"), recipe.checkpoint)
        with translated_once("config", known):
            export(checkpoint, recipe, tmp_path / f"{number}", parity=False)
    export(checkpoint, recipe, tmp_path / "alone", parity=False)
    graphs = [path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").glob("*/*_encoder.*")]
    assert len(graphs) == 8, "two towers, a graph and its weights each, for two targets"
    for path in graphs:
        assert _unnumbered(tmp_path / "1" / path) == _unnumbered(tmp_path / "alone" / path), path


def _unnumbered(path: Path) -> bytes:
    """A graph's file; OpenVINO numbers its layers through all models of a process."""
    return re.sub(rb'_\d+"', b'"', path.read_bytes()) if path.suffix == ".xml" else path.read_bytes()


def test_the_table_says_what_was_rejected(script: Any) -> None:
    passed = script.Row("biomedclip", "a", "int8", "onnx", "passed", 0.5, "P5 x", (), 1.0)
    rejected = replace(passed, target="openvino", verdict="rejected", share=2.0, failed=("P5 y",))
    assert list(script.table([passed, rejected])) == [
        "| family | checkpoint | int8 onnx | int8 openvino |",
        "|---|---|---|---|",
        "| biomedclip | a | 0.50 | **rejected** |",
    ]


@pytest.mark.parametrize(
    ("rung", "stage", "verdict"),
    [("P4", "logits", "over budget"), ("P4", "decoder weights", "rejected"), ("P5", "logits", "rejected")],
)
def test_what_a_scheme_costs_is_no_false_rejection(script: Any, rung: str, stage: str, verdict: str) -> None:
    """Unless weights are wrong, P4 measures the price itself, which needs no limit of what errors may be."""
    check = Check(stage, "x", "text", {"kl": 0.5}, Gate("kl", 0.15, "a budget"))
    report = SimpleNamespace(rungs=(Rung(rung, "", (check,)),))
    assert script._verdict(report, "onnx")[0] == verdict


def test_what_need_not_be_judged_again(script: Any) -> None:
    known = script.Known()
    assert known.rungs("biomedclip", "a", TARGETS[:2]) == ["P0", "P1", "P2", "P3", "P4", "P5"]
    assert known.rungs("biomedclip", "a", TARGETS[:2]) == ["P0", "P3", "P4", "P5"], "another scheme"
    assert "P2" in known.rungs("biomedclip", "a", TARGETS), "another target"
    assert known.rungs("biomedclip", "b", TARGETS[:1]) == ["P0", "P2", "P3", "P4", "P5"], "another checkpoint"
