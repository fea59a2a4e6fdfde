"""A report and what is written from it."""

import json
import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from nexus_edge.ci.from_report import report_junit
from nexus_edge.errors import BundleError
from nexus_edge.parity.report.html import tiles, to_html
from nexus_edge.parity.report.markdown import to_markdown
from nexus_edge.parity.report.plots import drift, layer_drift, stage_bars
from nexus_edge.parity.report.report import CARRIED, Check, Report, Rung, from_json, utilisation
from nexus_edge.parity.tolerances import Gate

TIGHT = Gate("relative_l2", 1e-3, "a reason with <angle> brackets")


def layer_check(layer: int, error: float, stage: str = "decoder", gate: Gate | None = TIGHT) -> Check:
    return Check(stage, "output", "text | bar", {"relative_l2": error}, gate, layer)


@pytest.fixture
def report() -> Report:
    """P0 passed, P1 not run, P3 failed in layer 1 of 3, P5 ambiguous."""
    errors = (1e-4, 0.5, 2e-4)
    layers = [layer_check(i, error) for i, error in enumerate(errors)]
    layers += [layer_check(i, error, "decoder" + CARRIED, None) for i, error in enumerate((1e-4, 0.5, 0.6))]
    greedy = Check(
        "greedy tokens",
        "12 tokens",
        "text",
        {"greedy_agreement": 1.0, "ambiguous": 1.0},
        Gate("greedy_agreement", 1, "r"),
    )
    logits = Check("logits", "logits", "text", {"kl": math.inf, "top1_agreement": 0.9})
    rungs = (
        Rung("P0", "structure", (Check("files", "3 files", "onnx", {"mismatches": 0.0}, Gate("mismatches", 0, "r")),)),
        Rung("P1", "original", reason="no goldens"),
        Rung("P3", "exporter", tuple(layers), notes=("a note",), seconds=1.5),
        Rung("P4", "scheme", (logits,)),
        Rung("P5", "end to end", (greedy,)),
    )
    head = ("phi3-vision-int4", "phi3_v", "tiny", "trained-tiny", "int4", "mixed", ("onnx",), "0.1.0", "2026-11-23")
    return Report(*head, rungs)


def test_statuses(report: Report) -> None:
    assert [rung.status for rung in report.rungs] == ["passed", "not run", "failed", "reported", "ambiguous"]
    assert report.verdict == "rejected"
    assert report.summary["reason"] == "P3: decoder, layer 1, output (text | bar): relative L2 0.5, needs <= 0.001"


def test_only_what_ran_can_pass(report: Report) -> None:
    def verdict(*numbers: int) -> str:
        return replace(report, rungs=tuple(report.rungs[i] for i in numbers)).verdict

    assert verdict(1) == "not run"
    assert verdict(1, 3) == "not run", "measured and not gated is no verdict"
    assert verdict(0, 4) == "passed"
    assert verdict(0, 1, 4) == "incomplete", "a rung that was asked for did not run"
    assert verdict(0, 1, 2) == "rejected"


def test_what_did_not_run_is_named_unless_it_may_be_skipped(report: Report) -> None:
    sound, unrun, ambiguous = (report.rungs[i] for i in (0, 1, 4))
    found = replace(report, rungs=(sound, unrun, ambiguous))
    assert found.reason == "P1 was not run: no goldens"
    assert found.summary["reason"] == found.reason
    failures = [case.get("message") for case in ElementTree.fromstring(report_junit(found)).iter("failure")]
    assert failures == [found.reason]
    allowed = replace(found, rungs=(sound, replace(unrun, may_be_skipped=True), ambiguous))
    assert (allowed.verdict, allowed.reason, allowed.skipped) == ("passed", "", ("P1 was not run: no goldens",))
    assert not list(ElementTree.fromstring(report_junit(allowed)).iter("failure"))
    assert "skipped: P1 was not run: no goldens" in to_markdown(allowed)
    assert from_json(allowed.to_json()) == allowed


def test_a_target_that_a_rung_left_out_is_missing(report: Report) -> None:
    """What holds for one target says nothing about the other."""
    check = Check("decoder", "output", "text", {"relative_l2": 1e-4}, TIGHT, 1, target="onnx")
    rung = Rung("P3", "exporter", (check,), notes=("not run for openvino: it is not installed",))
    found = replace(report, targets=("onnx", "openvino"), rungs=(rung,))
    assert found.verdict == "incomplete"
    assert found.reason == "P3 was not run for openvino: it is not installed"
    assert replace(found, targets=("onnx",)).verdict == "passed"


def test_a_rejection_stands(report: Report) -> None:
    found = replace(report, rungs=(report.rungs[0],), standing="P4: logits")
    assert found.verdict == "rejected"
    assert "P4: logits" in found.reason and "whole ladder" in found.reason
    (failure,) = ElementTree.fromstring(report_junit(found)).iter("failure")
    assert failure.get("message") == found.reason


def test_ambiguous_is_explained_with_its_counts(report: Report) -> None:
    measures = {"top1_agreement": 1.0, "ambiguous": 3.0, "decisions": 240.0}
    top1 = Check("top-1", "40 x 6", "cells", measures, Gate("top1_agreement", 1, "r"))
    rung = Rung("P5", "end to end", (top1, *report.rungs[4].checks))
    assert rung.status == "ambiguous"
    sentence = "3 of 240 decisions are near ties: "
    assert top1.near_ties is not None and top1.near_ties.sentence.startswith(sentence)
    assert rung.explanation.startswith("4 of ") and "this is not a failure" in rung.explanation
    found = replace(report, rungs=(replace(rung, checks=(top1,)),))
    for text in (to_markdown(found), to_html(found).replace("&#39;", "'"), report_junit(found)):
        assert sentence in text
    assert report.rungs[0].explanation == ""


def test_a_missing_measure_fails() -> None:
    assert Check("decoder", "logits", "text", {}, TIGHT).status == "failed"
    assert Check("decoder", "logits", "text", {"relative_l2": math.nan}, TIGHT).status == "failed"
    assert Check("decoder", "logits", "text", problem="missing in the artefact").status == "failed"


@pytest.mark.parametrize(
    ("value", "gate", "used"),
    [
        (5e-4, TIGHT, 0.5),
        (0.96, Gate("cosine", 0.98, "r"), 2.0),
        (1.0, Gate("greedy_agreement", 1.0, "r"), 0.0),
        (0.9, Gate("greedy_agreement", 1.0, "r"), math.inf),
        (1.0, Gate("mismatches", 0, "r"), math.inf),
    ],
)
def test_used_share_of_a_tolerance(value: float, gate: Gate, used: float) -> None:
    assert utilisation(Check("s", "t", "c", {gate.metric: value}, gate)) == pytest.approx(used)


def test_json_goes_both_ways_and_is_strict_json(report: Report) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = report.to_json()
    document = json.loads(text, parse_constant=refuse)
    assert document["summary"]["verdict"] == "rejected"
    assert from_json(text) == report


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 99}', '{"format_version": 1, "rungs": 3}'])
def test_json_that_is_no_report(text: str) -> None:
    with pytest.raises(BundleError, match=r"report\.json"):
        from_json(text)


def test_markdown_names_the_first_divergence_and_keeps_its_tables(report: Report) -> None:
    text = to_markdown(report)
    assert text.startswith("# Parity of phi3-vision-int4: rejected\n")
    assert "No figure here is one of the real model." in text
    assert (
        "| P3 | exporter | failed | decoder, layer 1, output (text \\| bar): relative L2 0.5, needs <= 0.001 | 1.5 |"
        in text
    )
    assert "Not run: no goldens" in text


def test_junit_counts_and_names_failures(report: Report) -> None:
    suites = {suite.get("name"): suite for suite in ElementTree.fromstring(report_junit(report))}
    exporter, original = suites["P3 exporter"], suites["P1 original"]
    assert (exporter.get("tests"), exporter.get("failures")) == ("6", "1")
    (failure,) = exporter.iter("failure")
    assert failure.get("message") == "decoder, layer 1, output (text | bar): relative L2 0.5, needs <= 0.001"
    assert (original.get("tests"), original.get("failures"), original.get("skipped")) == ("1", "1", "0")
    assert next(original.iter("failure")).get("message") == "P1 was not run: no goldens"


def test_html_is_one_page_with_both_plots(report: Report) -> None:
    page = to_html(report)
    assert page.count("<svg") == 4, "each for wide pages and for narrow ones"
    assert "First divergence in P3." in page
    assert "a reason with &lt;angle&gt; brackets" in page, "text of a bundle is no HTML"
    for outside in ("src=", "href=", "<script", "@import", "url("):
        assert outside not in page.replace('xlink:href="#', "").replace("url(#", ""), "a report loads nothing"


def test_drift_has_each_layer_carried_and_alone(report: Report) -> None:
    carried, alone = sorted(drift(report)["decoder"], key=lambda line: not line.carried)
    assert carried.errors == {0: 1e-4, 1: 0.5, 2: 0.6}
    assert alone.errors == {0: 1e-4, 1: 0.5, 2: 2e-4}
    assert alone.failed == {1}


def test_nothing_to_plot(report: Report) -> None:
    empty = replace(report, rungs=report.rungs[:2])
    assert stage_bars(empty) is None
    assert layer_drift(empty) is None
    assert "<svg" not in to_html(empty)


def test_tiles_show_the_worst(report: Report) -> None:
    assert [(tile.label, tile.value) for tile in tiles(report)] == [
        ("top-1 agreement", "90.0%"),
        ("KL, mean (nat)", "inf"),
    ]


def test_tiles_prefer_what_the_checkpoint_was_trained_to_read(report: Report) -> None:
    answers = Check("held-out questions", "answers", "100 held-out questions", {"exact_match": 0.5, "kl": 0.25})
    scheme = report.rungs[3]
    rungs = (*report.rungs[:3], replace(scheme, checks=(*scheme.checks, answers)), report.rungs[4])
    shown = [(tile.label, tile.value) for tile in tiles(replace(report, rungs=rungs))]
    assert shown == [("exact match", "50.0%"), ("KL, mean (nat)", "0.25")]
