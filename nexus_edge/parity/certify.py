"""Everything that an export leaves in a bundle's `parity/` folder, and how a report is written anywhere else."""

from collections.abc import Callable, Collection
from pathlib import Path

from nexus_edge._atomic import replaced_when_done
from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.ci.from_report import report_junit
from nexus_edge.errors import BundleError, CheckpointError
from nexus_edge.interfaces.progress import Progress, silent
from nexus_edge.parity import ladder
from nexus_edge.parity.goldens import write_goldens
from nexus_edge.parity.report.html import to_html
from nexus_edge.parity.report.markdown import to_markdown
from nexus_edge.parity.report.report import Report
from nexus_edge.parity.run import ParityRun

FOLDER = "parity"
WRITERS: dict[str, Callable[[Report], str]] = {
    ".json": Report.to_json,
    ".md": to_markdown,
    ".html": to_html,
    ".xml": report_junit,
}
"""File ending -> writer of a report."""


def write(report: Report, folder: Path) -> None:
    """Write report.json, report.md and report.html.

    Raises:
        OutputError: the folder cannot be written.
    """
    for ending in (".json", ".md", ".html"):
        write_file(report, folder / f"report{ending}", ending)


def write_file(report: Report, path: Path, ending: str) -> None:
    """Write one file in the format of `ending` (a key of `WRITERS`), whatever the file itself is called.

    Raises:
        OutputError: it cannot be written.
    """
    text = WRITERS[ending](report)
    with replaced_when_done(path) as new:
        new.write_text(text, "utf-8")


def certify(
    bundle: Bundle,
    checkpoint: Checkpoint,
    *,
    max_memory: int | None = None,
    skippable: Collection[str] = (),
    progress: Progress = silent,
) -> Report:
    """Run the ladder, and write the report and the goldens for `nexus-edge verify` into the bundle's `parity/`.

    The manifest is the caller's: store `report.summary` there, and the new files with their hashes.

    Args:
        bundle: complete but for its parity
        checkpoint: what it was made from
        max_memory: bytes that models may fill; None: half of the machine's memory
        skippable: rungs that the verdict does not wait for
        progress: called with a step's name and the share of the ladder that is done
    """
    run = ladder.prepare(bundle, checkpoint, max_memory=max_memory)
    report = ladder.run(run, progress=progress, skippable=skippable)
    progress("parity goldens", 1.0)
    store(run, report)
    return report


def store(run: ParityRun, report: Report) -> None:
    """Write a report on a run's bundle, and its goldens, into the bundle's `parity/`; the manifest stays as it is."""
    write(report, run.bundle.root / FOLDER)
    try:
        write_goldens(run, run.bundle.root / FOLDER)
    except (BundleError, CheckpointError):
        if not run.damaged:
            raise  # else P0 tells of it, and there is nothing to replay
