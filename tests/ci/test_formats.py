"""Every CI format of a green, a red and an incomplete report, read by what is not ours: schemas and other readers."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from lxml import etree
from sarif_pydantic import Sarif
from sarif_schemas import OASIS, require_sarif

from nexus_edge.ci.formats import FORMATS, Deliveries
from nexus_edge.ci.from_report import outcome_of
from nexus_edge.ci.github import MOST, to_github
from nexus_edge.ci.outcome import Outcome
from nexus_edge.errors import InputError, OutputError
from nexus_edge.parity.report.report import Check, Report, Rung
from nexus_edge.parity.tolerances import Gate

HERE = Path(__file__).parent
GATE = Gate("relative_l2", 1e-3, "a reason with <angle> brackets & 100 %")
TIES = Gate("greedy_agreement", 1.0, "tokens")
HEAD = ("phi3.5-int4", "phi3_v", "tiny", "trained-tiny", "int4", "mixed", ("onnx",), "0.1.0", "2026-11-23 10:05 UTC")
NASTY = "text: 100%, of a\r\nmodel \x00\x1b[31m | <b>"


def layers(*errors: float) -> tuple[Check, ...]:
    return tuple(
        Check("decoder", "output", NASTY, {"relative_l2": error}, GATE, layer=layer, target="onnx", seconds=0.5)
        for layer, error in enumerate(errors)
    )


def report(*errors: float, missing: bool = False) -> Report:
    greedy = Check(
        "greedy tokens", "12 tokens, first difference at 3", "text", {"greedy_agreement": 1.0, "ambiguous": 1.0}, TIES
    )
    lost = Check("decoder", "logits", "text", problem="is missing in the artefact")
    rungs = [Rung("P3", "exporter: the artefact", layers(*errors), seconds=1.5), Rung("P5", "end to end", (greedy,))]
    if missing:
        rungs += [Rung("P1", "original", reason="no goldens"), Rung("P0", "structure", (lost,))]
    return Report(*HEAD, tuple(rungs), {"machine": "2 cores"})


OUTCOMES = {
    "green": outcome_of(report(1e-4, 2e-4), "out/phi3.5-int4"),
    "red": outcome_of(report(1e-4, 0.5, 0.25), "out/phi3.5-int4"),
    "missing": outcome_of(report(1e-4, missing=True), "out/phi3.5-int4"),
    "many": outcome_of(report(*[0.5] * 25), "out/phi3.5-int4"),
    "skipped": outcome_of(
        replace(r := report(1e-4), rungs=(*r.rungs, Rung("P1", "o", reason="no goldens", may_be_skipped=True))), "out/b"
    ),
}  # fmt: skip


@pytest.fixture(params=list(OUTCOMES))
def outcome(request: pytest.FixtureRequest) -> Outcome:
    return OUTCOMES[request.param]


def junit(outcome: Outcome) -> Any:
    return etree.fromstring(FORMATS["junit"](outcome).encode())


def test_junit_is_valid_and_its_counts_are_those_of_its_cases(outcome: Outcome) -> None:
    root = junit(outcome)
    schema = etree.XMLSchema(etree.parse(HERE / "junit.xsd"))
    schema.assertValid(root)
    for suite in root:
        assert int(suite.get("tests")) == len(suite.findall("testcase"))
        assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped"))
    assert (root.find(".//failure") is not None) == (outcome.color == "red")


def test_the_schema_refuses_what_jenkins_does() -> None:
    schema = etree.XMLSchema(etree.parse(HERE / "junit.xsd"))
    root = junit(OUTCOMES["red"])
    del root[0].attrib["errors"]
    assert not schema.validate(root), "Jenkins' xUnit plugin requires it"


def test_junit_names_stay_when_values_change() -> None:
    def names(outcome: Outcome) -> list[tuple[str, str]]:
        return [(case.get("classname"), case.get("name")) for case in junit(outcome).iter("testcase")]

    assert names(OUTCOMES["red"])[:2] == names(OUTCOMES["green"])[:2]
    assert names(OUTCOMES["green"])[-1] == ("phi3_5-int4.parity.P5.greedy tokens", "greedy tokens (text)")


def test_a_junit_failure_has_a_type_a_message_and_a_body_with_the_reason() -> None:
    (first, second) = junit(OUTCOMES["red"]).iter("failure")
    assert first.get("type") == "relative_l2"
    assert first.get("message").endswith("relative L2 0.5, needs <= 0.001")
    assert "Why this limit: a reason with <angle> brackets & 100 %" in first.text
    assert second.getparent().get("time") == "0.500"
    kinds = [failure.get("type") for failure in junit(OUTCOMES["missing"]).iter("failure")]
    assert kinds == ["not run", "missing"]


def test_near_ties_are_explained_and_no_failure() -> None:
    (case,) = [case for case in junit(OUTCOMES["green"]).iter("testcase") if "greedy" in case.get("name")]
    assert case.find("failure") is None
    assert "near tie" in case.find("system-out").text


def test_what_may_be_skipped_says_why() -> None:
    (skipped,) = junit(OUTCOMES["skipped"]).iter("skipped")
    assert skipped.get("message") == "P1 was not run: no goldens"


def test_sarif_is_valid_for_its_schema_and_for_another_reader(outcome: Outcome) -> None:
    document = json.loads(FORMATS["sarif"](outcome))
    require_sarif(document)
    (run,) = Sarif.model_validate(document).runs
    failed = [case for case in outcome.cases if case.status == "failed"]
    results = run.results or []
    assert sum(result.level == "error" for result in results) == len(failed)
    for result in document["runs"][0]["results"]:
        rules = document["runs"][0]["tool"]["driver"]["rules"]
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    prints = [result["partialFingerprints"]["nexusEdgeCase/v1"] for result in document["runs"][0]["results"]]
    assert len(set(prints)) == len(prints), "a service shows one finding for each fingerprint"


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: run.update(resultz=[]),
        lambda run: run["results"][0].pop("message"),
        lambda run: run["results"][0].update(level="fatal"),
        lambda run: run["results"][0].update(ruleIndex=-2),
        lambda run: run["tool"]["driver"].pop("name"),
    ],
)
def test_the_published_schema_finds_what_is_wrong(damage: Callable[[Any], object]) -> None:
    document = json.loads(FORMATS["sarif"](OUTCOMES["red"]))
    jsonschema.Draft4Validator(OASIS).validate(document)
    damage(document["runs"][0])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(OASIS).validate(document)


def test_gitlab_findings_have_what_its_documentation_requires(outcome: Outcome) -> None:
    entries = json.loads(FORMATS["gitlab"](outcome))
    for entry in entries:
        assert set(entry) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert entry["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert not entry["location"]["path"].startswith(("./", "/"))
        assert entry["location"]["lines"]["begin"] == 1
    assert len({entry["fingerprint"] for entry in entries}) == len(entries)
    assert any(entry["severity"] == "blocker" for entry in entries) == (outcome.color == "red")


def test_github_commands_are_one_line_each_and_escaped(outcome: Outcome) -> None:
    lines = to_github(outcome).splitlines()
    for line in lines:
        assert line.startswith(("::error ", "::warning ", "::notice "))
        assert "\x00" not in line or outcome.color, "GitHub takes any character but line ends"
    assert sum(line.startswith("::error") for line in lines) <= MOST
    assert any(line.startswith("::error") for line in lines) == (outcome.color == "red")


def test_github_escapes_as_its_toolkit_does() -> None:
    line = to_github(OUTCOMES["red"]).splitlines()[0]
    properties, _, data = line.removeprefix("::error ").partition("::")
    assert properties == "file=out/phi3.5-int4/onnx/decoder.onnx,line=1,title=parity P3 decoder"
    assert "100%25, of a%0D%0Amodel" in data


def test_more_errors_than_github_keeps_are_counted() -> None:
    errors = [line for line in to_github(OUTCOMES["many"]).splitlines() if line.startswith("::error")]
    assert len(errors) == MOST
    assert errors[-1].endswith("and 16 more; the job's summary has them all")


def test_every_format_is_text_that_ends_a_line(outcome: Outcome) -> None:
    for name, write in FORMATS.items():
        assert write(outcome).endswith("\n"), name


@pytest.mark.parametrize(
    ("formats", "output", "words"),
    [
        (["jnuit"], None, "did you mean 'junit'"),
        (["junit="], None, "names no file"),
        (["junit", "sarif"], None, "only one can go to stdout"),
        ([], "a.xml", "needs one --format"),
        (["junit=a", "sarif=./a"], None, "two formats cannot go into one file"),
        (["junit=manifest.json"], None, "JUnit XML ends in .xml or without an ending; give --format"),
        (["sarif"], "a.safetensors", "SARIF ends in .sarif or .json or without an ending; give --output"),
    ],
)
def test_formats_that_cannot_be(formats: list[str], output: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Deliveries.parse(formats, None if output is None else Path(output))


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_report_is_written_again_and_takes_no_other_files_place(name: str, outcome: Outcome, tmp_path: Path) -> None:
    file = tmp_path / "report"
    wanted = Deliveries.parse([f"{name}={file}"], None)
    for _ in range(2):  # where nothing is, and where its own report is
        wanted.require_free([tmp_path / "bundle"])
        wanted.write_files(outcome)
    for other in ('{"name": "demo"}', '<testsuites name="pytest tests"/>', "# Notes", "[1]", "<html></html>"):
        file.write_text(other)
        with pytest.raises(OutputError, match="is there already and not"):
            wanted.require_free([])
    file.write_text("")  # as mktemp leaves it
    wanted.require_free([])


def test_files_and_the_summary_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    wanted = Deliveries.parse(["github", f"junit={tmp_path}/deep/a.xml"], None)
    wanted.write_files(OUTCOMES["red"])
    assert etree.parse(tmp_path / "deep" / "a.xml").getroot().tag == "testsuites"
    assert summary.read_text("utf-8").startswith("before\n# Parity of phi3.5-int4: rejected\n")
    assert wanted.for_stdout is not None and wanted.for_stdout.format == "github"
