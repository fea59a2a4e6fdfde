"""The report as a table for the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nexus_edge.parity.report.markdown import rung_line, status_text, verdict_lines
from nexus_edge.parity.report.report import Report

STYLES = {
    "passed": "green",
    "failed": "bold red",
    "rejected": "bold red",
    "incomplete": "bold red",
    "ambiguous": "yellow",
    "reported": "cyan",
    "not run": "dim",
}


def table(report: Report) -> RenderableType:
    """The ladder, one row for each rung, and under it the verdict with the first stage that diverges."""
    ladder = Table(title=Text(f"parity of {report.bundle}", style="bold"), title_justify="left", expand=False)
    for heading in ("rung", "compares", "verdict", "what decided"):
        ladder.add_column(heading)
    ladder.add_column("s", justify="right")
    for rung in report.rungs:
        verdict = Text(status_text(report, rung), style=STYLES[rung.status])
        ladder.add_row(rung.name, rung.title, verdict, Text(rung_line(rung)), f"{rung.seconds:.1f}")
    lines: list[RenderableType] = [ladder]
    failure = report.first_failure
    if failure is not None:
        lines.append(Text(f"first divergence: {failure[0].name}: {failure[1].finding}", style=STYLES["failed"]))
    lines.append(Text(f"verdict: {report.verdict}", style=STYLES[report.verdict]))
    lines += [Text(line, style="yellow") for line in verdict_lines(report)]
    lines.append(Text(report.weights_note, style="dim"))
    return Group(*lines)
