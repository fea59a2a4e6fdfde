"""GitHub Actions: workflow commands that become annotations, and the summary of a job.

Source: "Workflow commands for GitHub Actions" and "Adding a job summary" in GitHub's documentation.
"""

import os
from pathlib import Path

from nexus_edge.ci.outcome import Case, Outcome
from nexus_edge.ci.places import place_of
from nexus_edge.errors import OutputError

SUMMARY = "GITHUB_STEP_SUMMARY"
SUMMARY_BYTES = 1_000_000  # a step's summary may have 1 MiB; more is dropped whole
MOST = 10  # annotations of one kind that GitHub keeps of a step


def to_github(outcome: Outcome) -> str:
    """Annotations: an error for each failure, a warning for what did not run, a notice for near ties and the verdict.

    GitHub keeps ten of a kind for a step, so the last error says how many more there are.
    """
    failed = [case for case in outcome.cases if case.status == "failed"]
    lines = [_annotation("error", outcome, case, case.message) for case in failed[: MOST - 1]]
    if len(failed) > MOST - 1:
        more = len(failed) - MOST + 1
        lines.append(
            _annotation("error", outcome, failed[MOST - 1], f"and {more} more; the job's summary has them all")
        )
    level = "warning" if outcome.color == "red" else "notice"
    skipped = [case for case in outcome.cases if case.status == "skipped"]
    lines += [_annotation(level, outcome, case, f"not run: {case.message}") for case in skipped[:MOST]]
    noted = [case for case in outcome.cases if case.status == "noted"]
    lines += [_annotation("notice", outcome, case, case.message) for case in noted[: MOST - 1]]
    lines.append(f"::notice title={_property(_title(outcome))}::{_data(outcome.sentence)}")
    return "\n".join(lines) + "\n"


def summary_file() -> Path | None:
    """The file that $GITHUB_STEP_SUMMARY names; None where it is not set."""
    name = os.environ.get(SUMMARY)
    return Path(name) if name else None


def append_summary(outcome: Outcome) -> None:
    """Append the Markdown to the file that $GITHUB_STEP_SUMMARY names; nothing where it is not set.

    Raises:
        OutputError: it cannot be written
    """
    file = summary_file()
    if file is None:
        return
    text = outcome.markdown.encode()
    if len(text) > SUMMARY_BYTES:
        cut = text[:SUMMARY_BYTES].decode(errors="ignore")
        text = f"{cut[: cut.rindex(chr(10))]}\n\nThe rest does not fit into a job's summary.\n".encode()
    try:
        with file.open("ab") as summary:
            summary.write(text + b"\n")
    except OSError as error:
        raise OutputError(f"{file} ({SUMMARY}): cannot be written: {error.strerror}") from error


def _title(outcome: Outcome) -> str:
    return f"{outcome.tool} of {outcome.subject}: {outcome.verdict}"


def _annotation(level: str, outcome: Outcome, case: Case, text: str) -> str:
    title = " ".join((outcome.tool, *case.group))
    return f"::{level} file={_property(place_of(outcome, case))},line=1,title={_property(title)}::{_data(text)}"


def _data(text: str) -> str:
    """Percent first, or it would be escaped twice."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
