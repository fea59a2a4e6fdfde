"""Files of a bundle that cannot be read: P0's finding in every form of the report, and the end of no run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.ci.from_report import outcome_of, report_junit
from nexus_edge.errors import BundleError, CheckpointError
from nexus_edge.parity import certify, ladder
from nexus_edge.parity.report.report import Report
from nexus_edge.parity.run import ParityRun

pytestmark = pytest.mark.slow
CopyOf = Callable[[Bundle], Bundle]
RUNGS = ("P0", "P3", "P4", "P5")


@pytest.fixture
def bundle(healthy_dual: Bundle, copy_of: CopyOf) -> Bundle:
    """A sound one, which a test may damage."""
    return copy_of(healthy_dual)


def judged(bundle: Bundle, checkpoint: Checkpoint) -> tuple[ParityRun, Report]:
    run = ladder.prepare(Bundle.open(bundle.root, check=None), checkpoint)
    return run, ladder.run(run, RUNGS)


def findings(report: Report) -> dict[str, str]:
    return {check.stage: check.finding for check in report.rungs[0].checks if check.status == "failed"}


@pytest.mark.parametrize("what", ["weights", "graph"])
def test_a_file_that_may_not_be_read(
    what: str, bundle: Bundle, biomedclip_checkpoint: Checkpoint, unreadable: Callable[[Path], None]
) -> None:
    info = bundle.manifest.graphs["onnx"]["image_encoder"]
    path = bundle.root / str(info.weights if what == "weights" else info.file)
    unreadable(path)
    run, report = judged(bundle, biomedclip_checkpoint)
    assert report.verdict == "rejected"
    assert f"{path}: cannot be read (Permission denied)" in findings(report)["image_encoder"]
    assert f"{path}: cannot be read (Permission denied)" in findings(report)["files"]
    assert {rung.name: rung.status for rung in report.rungs if rung.name != "P4"} == {
        "P0": "failed",
        "P3": "not run",
        "P5": "not run",
    }, "P4 needs the weights alone"
    for text in (report_junit(report), report.to_json(), str(outcome_of(report, str(bundle.root)))):
        assert f"{path}: cannot be read" in text
    certify.store(run, report)
    assert (bundle.root / "parity" / "report.json").is_file()


def test_a_folder_in_the_place_of_weights(bundle: Bundle, biomedclip_checkpoint: Checkpoint) -> None:
    weights = bundle.manifest.graphs["onnx"]["text_encoder"].weights
    assert weights is not None
    (bundle.root / weights).unlink()
    (bundle.root / weights).mkdir()
    _, report = judged(bundle, biomedclip_checkpoint)
    assert report.verdict == "rejected"
    assert f"{weights} is not a file" in findings(report)["text_encoder"]
    assert f"{weights} is not a file" in report_junit(report)


def test_a_file_of_the_processor_that_may_not_be_read(
    bundle: Bundle, biomedclip_checkpoint: Checkpoint, unreadable: Callable[[Path], None]
) -> None:
    path = bundle.root / "processor" / "config.json"
    unreadable(path)
    _, report = judged(bundle, biomedclip_checkpoint)
    assert set(findings(report)) == {"files", "facts", "dual_encoder", "processor"}
    assert all(str(path) in finding for finding in findings(report).values())
    assert str(path) in report_junit(report)


def test_without_p0_it_is_one_line(
    bundle: Bundle, biomedclip_checkpoint: Checkpoint, unreadable: Callable[[Path], None]
) -> None:
    weights = bundle.manifest.graphs["onnx"]["text_encoder"].weights
    assert weights is not None
    unreadable(bundle.root / weights)
    run = ladder.prepare(Bundle.open(bundle.root, check=None), biomedclip_checkpoint)
    with pytest.raises((BundleError, CheckpointError), match=Path(weights).name):
        ladder.run(run, ("P4",))
