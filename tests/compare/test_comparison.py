"""What two records say of each other; the expected numbers are worked out by hand."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from sarif_schemas import require_sarif

from nexus_edge.bundle import Bundle
from nexus_edge.ci.formats import FORMATS
from nexus_edge.ci.marks import KINDS
from nexus_edge.compare.comparison import Comparison
from nexus_edge.compare.outcome import outcome_of, to_json
from nexus_edge.compare.record import Record, Reply, read, save
from nexus_edge.compare.table import rows, to_markdown
from nexus_edge.engines.onnx.probe.layers import layer_values, with_layers_visible
from nexus_edge.errors import InputError, ParityError

pytestmark = pytest.mark.slow

HEAD = ("toy", "out/toy", "phi3_v", "synthetic", "int4", "onnx", "2 cores", "abc")
OLD = Record(
    *HEAD, 1000, {"decoder": 900}, (2.0, 2.0, 8.0), {"tokens_per_s": (10.0, 20.0, 40.0)}, 500,
    (Reply("a", "yes", True), Reply("b", "no")), {"logits": np.float32([[3, 4], [1, 0]])},
    {"decoder, a": (np.float32([[1, 0]]), np.float32([[0, 2]]))},
)  # fmt: skip
NEW = replace(
    OLD, size_bytes=1100, load_s=(3.0, 2.0, 4.0), speeds={"tokens_per_s": (9.0, 22.0, 32.0)}, peak_bytes=750,
    replies=(Reply("a", "yes | <b>", False), Reply("b", "no")), vectors={"logits": np.float32([[4, 3], [2, 0]])},
    layers={"decoder, a": (np.float32([[1, 0]]), np.float32([[0, 3]]))},
)  # fmt: skip


def comparison(limits: dict[str, float], *, same_run: bool = True, skippable: bool = False) -> Comparison:
    return Comparison(OLD, NEW, same_run, limits, "questions", skippable=skippable)


def test_measures_are_ratios_of_the_same_round() -> None:
    found = comparison({}).measures
    assert found["size_ratio"] == pytest.approx(1.1)
    assert found["load_time_ratio"] == pytest.approx(1.0)  # of 1.5, 1.0 and 0.5
    assert found["tokens_per_s_ratio"] == pytest.approx(0.9)  # of 0.9, 1.1 and 0.8
    assert comparison({}).spread["tokens_per_s_ratio"] == pytest.approx((0.8, 1.1))
    assert found["peak_memory_ratio"] == pytest.approx(1.5)
    assert found["answers_changed"] == pytest.approx(0.5)
    assert found["cosine"] == pytest.approx(24 / 25)  # (3, 4) with (4, 3)
    assert comparison({}).drift == {"decoder, a": (0.0, 0.5)}


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        ({}, "not gated"),
        ({"size_ratio": 1.2}, "passed"),
        ({"size_ratio": 1.05}, "rejected"),
        ({"tokens_per_s_ratio": 0.95}, "rejected"),
        ({"cosine": 0.96}, "passed"),
        ({"cosine": 0.97}, "rejected"),
        ({"answers_changed": 0.5}, "passed"),
        ({"size_ratio": 1.2, "images_per_s_ratio": 0.5}, "incomplete"),
        ({"images_per_s_ratio": 0.5}, "incomplete"),
    ],
)
def test_verdicts(limits: dict[str, float], verdict: str) -> None:
    found = comparison(limits)
    assert found.verdict == verdict
    assert outcome_of(found).color == ("green" if verdict in ("passed", "not gated") else "red")


def test_a_budget_that_nothing_judged_is_green_only_where_that_was_allowed() -> None:
    limits = {"size_ratio": 1.2, "tokens_per_s_ratio": 0.5}
    assert comparison(limits, same_run=False).verdict == "incomplete"
    assert "another run" in comparison(limits, same_run=False).sentence
    assert comparison(limits, same_run=False, skippable=True).verdict == "passed"
    assert comparison({"tokens_per_s_ratio": 0.5}, same_run=False, skippable=True).verdict == "incomplete"


def test_numbers_that_are_none_never_pass() -> None:
    broken = replace(NEW, vectors={"logits": np.float32([[math.nan, 1], [1, 0]])})
    assert Comparison(OLD, broken, True, {"cosine": 0.0}, "q").verdict == "rejected"
    assert Comparison(OLD, OLD, True, {"cosine": 1.0, "answers_changed": 0.0}, "q").verdict == "passed"


def test_models_of_different_sizes_are_refused() -> None:
    other = replace(NEW, vectors={"logits": np.ones((2, 3), np.float32)})
    with pytest.raises(InputError, match="2 x 2 numbers before and 2 x 3 now"):
        _ = Comparison(OLD, other, True, {}, "q").measures


def test_a_baseline_file_is_read_back_and_so_is_a_comparison(tmp_path: Path) -> None:
    save(NEW, tmp_path / "base.json")
    assert json.loads((tmp_path / "base.json").read_text())["material"] == NEW.inputs, "as in files of before"
    for path in (tmp_path / "base.json", tmp_path / "compare.json"):
        if not path.exists():
            path.write_text(to_json(comparison({"size_ratio": 1.0})))
        found = read(path)
        assert replace(found, vectors={}, layers={}) == replace(NEW, vectors={}, layers={})
        assert (found.vectors["logits"] == NEW.vectors["logits"]).all()
        assert [rows.tolist() for rows in found.layers["decoder, a"]] == [[[1, 0]], [[0, 3]]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "is not a baseline"),
        ({"format_version": 9}, "format_version is 9"),
        ({"size_bytes": -1}, "size_bytes must be a whole number"),
        ({"size_bytes": 0}, "size_bytes must be"),
        ({"size_bytes": 10**400}, "size_bytes must be a whole number"),
        ({"load_s": ["a"]}, "load_s must be a list of numbers"),
        ({"load_s": [0.0]}, "load_s must be a list of numbers > 0"),
        ({"load_s": [1e999]}, "is not valid JSON|load_s must be a list of numbers > 0"),
        ({"speeds": {"tokens_per_s": []}}, "tokens_per_s: has 0 items; it must have at least 1"),
        ({"speeds": {"tokens_per_s": [0]}}, "tokens_per_s must be a list of numbers > 0"),
        ({"peak_bytes": 0}, "peak_bytes must be"),
        ({"replies": [{"item": "a"}]}, r"replies\[0\]: text is missing"),
        ({"vectors": {"v": {"shape": [3], "float32": "AAAA"}}}, "is not an array"),
        ({"extra": 1}, "unknown key 'extra'"),
    ],
)
def test_a_wrong_baseline_is_refused(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path = tmp_path / "base.json"
    path.write_text(json.dumps(NEW.to_json() | change))
    with pytest.raises(InputError, match=words):
        read(path)


def test_people_see_every_budget_and_text_stays_text() -> None:
    found = comparison({"size_ratio": 1.05, "size_gb": 1.0, "images_per_s_ratio": 0.9})
    assert [(row[0], row[-1]) for row in rows(found) if row[-1]] == [
        ("size", "beyond"), ("size", "within"), ("image speed", "not judged")
    ]  # fmt: skip
    assert "yes \\| \\<b\\>" in to_markdown(found)


def test_ci_formats_carry_each_budget() -> None:
    outcome = outcome_of(comparison({"size_ratio": 1.05, "cosine": 0.9, "images_per_s_ratio": 0.9}))
    assert [case.status for case in outcome.cases] == ["failed", "passed", "skipped"]
    require_sarif(json.loads(FORMATS["sarif"](outcome)))
    assert "raise the budget" in FORMATS["junit"](outcome)


def test_layers_are_made_visible_as_onnx_itself_would(tiny_bundle: Bundle) -> None:
    path = tiny_bundle.graph("onnx", "decoder")
    model = onnx.load(path, load_external_data=False)
    expected = [
        name for node in model.graph.node for name in node.output if name.endswith(".output") and "layers" in name
    ]
    assert layer_values(path.read_bytes()) == expected
    assert len(expected) == 4
    visible = onnx.load_from_string(with_layers_visible(path))
    names = [output.name for output in model.graph.output] + expected
    assert [output.name for output in visible.graph.output] == names


@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"\x3a\x7f", b"\x3b"])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "decoder.onnx"
    path.write_bytes(content)
    with pytest.raises(ParityError, match=r"is not an \.onnx file"):
        with_layers_visible(path)


@pytest.mark.parametrize("limits", [{}, {"size_ratio": 1.0}, {"size_ratio": 100.0}])
def test_its_files_may_be_written_again(limits: dict[str, float]) -> None:
    outcome = outcome_of(comparison(limits))
    for name, write in FORMATS.items():
        assert KINDS[name].mark.match(write(outcome).encode()), name
