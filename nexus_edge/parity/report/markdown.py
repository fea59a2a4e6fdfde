"""The report as Markdown, for a pull request."""

from nexus_edge.parity.metrics import METRICS
from nexus_edge.parity.report.report import Check, Report, Rung
from nexus_edge.parity.words import verdict_sentence


def gate_text(check: Check) -> str:
    """`relative L2 1.2e-06 <= 1e-05`, or `relative L2 0.5, needs <= 1e-05` of a failure; a dash without a gate."""
    if check.gate is None or check.value is None:
        return "-"
    metric = METRICS[check.gate.metric]
    needs = "" if check.gate.holds(check.value) else ", needs"
    sign = ">=" if metric.higher_is_better else "<="
    return f"{metric.label} {check.value:.3g}{needs} {sign} {check.gate.limit:.3g}"


def rung_line(rung: Rung) -> str:
    """What decided a rung, in one line: the reason it was not run, its first failure, or its tightest gate."""
    if rung.reason is not None and not rung.checks:
        return rung.reason
    if rung.first_failure is not None:
        return rung.first_failure.finding
    tightest = rung.tightest
    return "reported only" if tightest is None else f"{gate_text(tightest)} at {tightest.place}"


def status_text(report: Report, rung: Rung) -> str:
    """A rung's status; by target where there are several and they differ."""
    statuses = {target: rung.status_of(target) for target in report.targets}
    if set(statuses.values()) <= {rung.status}:
        return rung.status
    return ", ".join(f"{target} {status}" for target, status in statuses.items())


def verdict_lines(report: Report) -> list[str]:
    """Why the verdict is what it is, where it does not speak for itself: what is missing, skipped or nearly tied."""
    lines = [] if report.verdict == "passed" else [f"{report.verdict}: {report.reason}"]
    lines += [f"skipped: {text}" for text in report.skipped]
    lines += [f"own data, {note}" for rung in report.rungs if rung.name == "eval" for note in rung.notes]
    lines += [f"own tolerances: {report.tolerances}"] if report.tolerances else []
    return lines + [f"{rung.name} is ambiguous: {rung.explanation}" for rung in report.rungs if rung.explanation]


def to_markdown(report: Report) -> str:
    """A page with the verdict, the ladder, and for each rung every check with its gate and its measures."""
    lines = [
        f"# Parity of {report.bundle}: {report.verdict}",
        "",
        f"{verdict_sentence(report)}\n",
        f"Checkpoint {report.checkpoint}, recipe {report.recipe}, targets {', '.join(report.targets)}, "
        f"tolerances for {report.scheme}, nexus-edge {report.toolkit_version}, {report.created}.",
        report.weights_note,
        "",
        *(f"{line}\n" for line in verdict_lines(report)),
        "| rung | compares | verdict | what decided | s |",
        "|---|---|---|---|---|",
    ]
    for rung in report.rungs:
        verdict = status_text(report, rung)
        lines.append(f"| {rung.name} | {rung.title} | {verdict} | {_cell(rung_line(rung))} | {rung.seconds:.1f} |")
    for rung in report.rungs:
        lines += ["", f"## {rung.name} {rung.title}", ""]
        lines += [f"Not run: {rung.reason}"] if not rung.checks and rung.reason else _table(rung)
        lines += [f"\n{note}" for note in rung.notes]
    return "\n".join(lines) + "\n"


def _table(rung: Rung) -> list[str]:
    lines = ["| case | stage | verdict | gate | measures |", "|---|---|---|---|---|"]
    for check in rung.checks:
        measures = ", ".join(f"{METRICS[name].label} {value:.3g}" for name, value in check.measures.items())
        cells = (check.circumstances, check.place, check.status, gate_text(check), check.problem or measures)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return lines


def _cell(text: str) -> str:
    """A bar inside a table cell would end the cell."""
    return text.replace("|", "\\|")
