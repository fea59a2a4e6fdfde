"""`parity` and `verify`: exit codes, what goes where, and what is written. What they find is tested in tests/parity."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.ci.formats import FORMATS
from nexus_edge.parity import certify, ladder, replay
from nexus_edge.parity.report.report import Check, Report, Rung, from_json
from nexus_edge.parity.tolerances import Gate

pytestmark = pytest.mark.slow

GATE = Gate("relative_l2", 1e-3, "a reason")
HEAD = ("toy", "phi3_v", "tiny", "synthetic", "int4", "mixed", ("onnx",), "0.1.0", "2026-11-23")
Run = Callable[..., Any]


def report_with(error: float) -> Report:
    check = Check("decoder", "output", "text", {"relative_l2": error}, GATE, layer=2)
    return Report(*HEAD, (Rung("P3", "exporter", (check,)),))


UNRUN = Rung("P4", "scheme", reason="no checkpoint")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments that `parity` hands to the ladder; "report" is what it gets back."""
    seen: dict[str, Any] = {"report": report_with(1e-4)}

    def prepare(bundle: Bundle, checkpoint: str | None, **options: Any) -> SimpleNamespace:
        seen.update(options, checkpoint=checkpoint)
        return SimpleNamespace(checkpoint="none")

    def run(prepared: object, rungs: tuple[str, ...], progress: object, skippable: tuple[str, ...]) -> Report:
        seen.update(rungs=rungs, skippable=skippable)
        return seen["report"]

    monkeypatch.setattr(ladder, "prepare", prepare)
    monkeypatch.setattr(ladder, "run", run)
    return seen


def test_a_bundle_that_passes(run_command: Run, asked: dict[str, Any], toy_path: Path) -> None:
    done = run_command("parity", toy_path)
    assert done.exit_code == 0, done.stderr
    assert "verdict: passed" in done.stdout
    assert asked["rungs"] == tuple(ladder.RUNGS)
    assert asked["checkpoint"] is None


def test_a_failed_gate_is_exit_code_3(run_command: Run, asked: dict[str, Any], toy_path: Path) -> None:
    asked["report"] = report_with(0.5)
    done = run_command("parity", toy_path)
    assert done.exit_code == 3
    assert "first divergence" in done.stdout
    assert done.stderr.count("\n") == 1
    assert "P3: decoder, layer 2, output (text): relative L2 0.5" in done.stderr


def test_a_rung_that_did_not_run_is_exit_code_3(run_command: Run, asked: dict[str, Any], toy_path: Path) -> None:
    sound = asked["report"]
    asked["report"] = replace(sound, rungs=(*sound.rungs, UNRUN))
    done = run_command("parity", toy_path)
    done.assert_ended(3, "P4 was not run: no checkpoint", "--allow-skip P4")
    assert "verdict: incomplete" in done.stdout
    asked["report"] = replace(sound, rungs=(UNRUN,))
    run_command("parity", toy_path, "--rungs", "P4").assert_ended(3, "P4 was not run: no checkpoint")


def test_an_own_limit_of_nothing_is_exit_code_3(
    run_command: Run, asked: dict[str, Any], toy_path: Path, tmp_path: Path
) -> None:
    asked["report"] = replace(asked["report"], unmet=("own.toml, gate 1 matched nothing",))
    done = run_command("parity", toy_path, "--junit", tmp_path / "a.xml")
    done.assert_ended(3, "own.toml, gate 1 matched nothing")
    assert "--allow-skip" not in done.stderr
    assert len(list(ElementTree.parse(tmp_path / "a.xml").iter("failure"))) == 1
    assert from_json(asked["report"].to_json()) == asked["report"]


@pytest.mark.parametrize("gigabytes", ["nan", "inf", "1e300", "-1", "0"])
def test_memory_that_is_none(run_command: Run, asked: dict[str, Any], toy_path: Path, gigabytes: str) -> None:
    run_command("parity", toy_path, f"--max-memory={gigabytes}").assert_error(2, "--max-memory is")


def test_goldens_that_are_not_there(run_command: Run, toy_path: Path, tmp_path: Path) -> None:
    options = ("--rungs", "P0", "--goldens", tmp_path / "nowhere")
    run_command("parity", toy_path, *options).assert_error(2, "nowhere: no such folder")


@pytest.mark.parametrize("names", [("--junit", "--html"), ("--junit", "--output"), ("--html", "--markdown")])
def test_one_file_holds_one_report(
    run_command: Run, asked: dict[str, Any], toy_path: Path, tmp_path: Path, names: tuple[str, str]
) -> None:
    file = tmp_path / "report"
    given = ("--format", "sarif") if "--output" in names else ()
    done = run_command("parity", toy_path, names[0], file, names[1], tmp_path / "." / "report", *given)
    done.assert_error(2, "two formats cannot go into one file")
    assert "rungs" not in asked, "said before any work"


def test_a_rung_that_may_be_skipped(run_command: Run, asked: dict[str, Any], toy_path: Path) -> None:
    sound = asked["report"]
    asked["report"] = replace(sound, rungs=(*sound.rungs, replace(UNRUN, may_be_skipped=True)))
    done = run_command("parity", toy_path, "--allow-skip", "p4", "--allow-skip", "P1,P2")
    assert done.exit_code == 0, done.stderr
    assert asked["skippable"] == ("P4", "P1", "P2")
    assert "skipped: P4 was not run: no checkpoint" in done.stdout
    run_command("parity", toy_path, "--rungs", "P0", "--allow-skip", "P4").assert_error(2, "--allow-skip P4")


def test_update_does_not_keep_what_is_incomplete(
    run_command: Run, asked: dict[str, Any], toy_path: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(toy_path, tmp_path / "toy")
    before = (root / "manifest.json").read_bytes()
    asked["report"] = replace(asked["report"], rungs=(*asked["report"].rungs, UNRUN))
    run_command("parity", root, "--update").assert_ended(3, "P4 was not run")
    assert (root / "manifest.json").read_bytes() == before


def test_options_reach_the_ladder(run_command: Run, asked: dict[str, Any], toy_path: Path, tmp_path: Path) -> None:
    options = ("--checkpoint", "tiny", "--rungs", "p0,P3", "--goldens", tmp_path, "--max-memory", "1.5")
    assert run_command("parity", toy_path, *options).exit_code == 0
    assert asked["rungs"] == ("P0", "P3")
    assert (asked["checkpoint"], asked["goldens"], asked["max_memory"]) == ("tiny", tmp_path, 1_500_000_000)


def test_files_and_json_are_written_for_a_failed_gate_too(
    run_command: Run, asked: dict[str, Any], toy_path: Path, tmp_path: Path
) -> None:
    asked["report"] = report_with(0.5)
    files = [tmp_path / "ci" / name for name in ("report.xml", "report.html", "report.md")]
    names = ("--junit", files[0], "--html", files[1], "--markdown", files[2])
    done = run_command("parity", toy_path, "--json", *names)
    assert done.exit_code == 3
    assert from_json(done.stdout) == asked["report"]
    assert len(list(ElementTree.parse(files[0]).iter("failure"))) == 1
    assert "First divergence in P3" in files[1].read_text("utf-8")
    assert files[2].read_text("utf-8").startswith("# Parity of toy: rejected")


def test_a_report_that_cannot_be_written(
    run_command: Run, asked: dict[str, Any], toy_path: Path, tmp_path: Path
) -> None:
    done = run_command("parity", toy_path, "--html", tmp_path)
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr


def test_update_keeps_the_verdict_in_the_bundle(
    run_command: Run, asked: dict[str, Any], toy_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(toy_path, tmp_path / "toy")
    monkeypatch.setattr(certify, "store", lambda run, report: certify.write(report, root / "parity"))
    asked["report"] = report_with(0.5)
    assert run_command("parity", root, "--update").exit_code == 3, "a failed gate is kept and still fails"
    kept = Bundle.open(root, check="sha256").manifest
    assert kept.parity is not None
    assert kept.parity["verdict"] == "rejected"
    assert "parity/report.html" in kept.files
    run_command("parity", root, "--update", "--rungs", "P0").assert_error(2, "--rungs")


@pytest.mark.parametrize("command", ["parity", "verify"])
def test_what_is_no_bundle(run_command: Run, tmp_path: Path, command: str) -> None:
    run_command(command, tmp_path / "nowhere").assert_error(2, "is not a bundle")


def test_verify_without_goldens(run_command: Run, toy_path: Path) -> None:
    run_command("verify", toy_path).assert_error(2, "no goldens", "nexus-edge parity --update")


def test_verify_passes_and_drifts(run_command: Run, toy_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "replay", lambda bundle, targets: report_with(1e-4))
    done = run_command("verify", toy_path, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["summary"]["verdict"] == "passed"
    monkeypatch.setattr(replay, "replay", lambda bundle, targets: report_with(0.5))
    done = run_command("verify", toy_path)
    assert done.exit_code == 3
    assert "decoder, layer 2" in done.stderr


def test_verify_does_not_hide_a_rejected_export(
    run_command: Run, toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs here as it was exported, and what was exported was wrong: one verdict, not two."""
    report = replace(report_with(1e-4), standing="P4: logits")
    monkeypatch.setattr(replay, "replay", lambda bundle, targets: report)
    done = run_command("verify", toy_bundle.root)
    done.assert_ended(3, "P4: logits")
    assert "verdict: rejected" in done.stdout
    assert "verdict: passed" not in done.stdout


def test_formats_go_where_they_are_sent(
    run_command: Run, asked: dict[str, Any], toy_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked["report"] = report_with(0.5)
    done = run_command("parity", toy_path, "--format", "sarif", "--format", f"junit={tmp_path / 'a.xml'}")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["runs"][0]["results"][0]["level"] == "error"
    assert len(list(ElementTree.parse(tmp_path / "a.xml").iter("failure"))) >= 1
    monkeypatch.setattr(replay, "replay", lambda bundle, targets=(): report_with(0.5))
    files = ("--junit", tmp_path / "b.xml", "--format", "gitlab", "--output", tmp_path / "c.json")
    done = run_command("verify", toy_path, *files)
    assert done.exit_code == 3
    assert "first divergence" in done.stdout, "nothing else goes to stdout, so the table does"
    assert ElementTree.parse(tmp_path / "b.xml").getroot().get("name") == "verify of toy"
    assert json.loads((tmp_path / "c.json").read_text("utf-8"))[0]["severity"] == "blocker"


def test_a_format_that_is_none_ends_before_any_work(run_command: Run, tmp_path: Path) -> None:
    for command in ("parity", "verify"):
        run_command(command, tmp_path / "nowhere", "--format", "jnit").assert_error(2, "did you mean 'junit'")


def damaged(toy_path: Path, folder: Path) -> Path:
    root = shutil.copytree(toy_path, folder / "damaged")
    path = root / "processor" / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:-1])
    return root


@pytest.mark.parametrize("command", ["verify", "parity", "compare"])
@pytest.mark.parametrize("bundle", ["damaged", "absent"])
def test_a_ci_reads_in_its_reports_why_nothing_was_judged(
    command: str, bundle: str, toy_path: Path, tmp_path: Path, run_command: Run
) -> None:
    root = damaged(toy_path, tmp_path) if bundle == "damaged" else tmp_path / "absent"
    if command == "parity":
        (root / "manifest.json").unlink(missing_ok=True)  # changed files are P0's finding; no bundle at all is none
    names = [root, root] if command == "compare" else [root]
    files = {name: tmp_path / name for name in FORMATS}
    for _ in range(2):  # the second run knows the reports as ours
        done = run_command(command, *names, *(f"--format={name}={file}" for name, file in files.items()))
        assert done.exit_code in (2, 3) and done.stderr.count("\n") == 1
        said = done.stderr.removeprefix("error: ").strip()
        assert ElementTree.parse(files["junit"]).find(".//failure").get("message") == said  # type: ignore[union-attr]
        told = json.loads(files["json"].read_text("utf-8"))
        assert (told["tool"], told["verdict"], told["sentence"]) == (command, "refused", said)
        assert json.loads(files["gitlab"].read_text("utf-8"))[0]["description"].startswith(f"{command} of ")
        assert json.loads(files["sarif"].read_text("utf-8"))["runs"][0]["results"]
        assert files["github"].read_text("utf-8").startswith("::error ")
        assert said in files["markdown"].read_text("utf-8")
    done = run_command(command, *names, "--json")
    assert json.loads(done.stdout)["error"]["message"] == said
