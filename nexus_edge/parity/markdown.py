"""The report as Markdown and as JUnit XML: for a pull request, and for the CI that turns red."""

from xml.etree import ElementTree

from nexus_edge.parity.metrics import METRICS
from nexus_edge.parity.report import Check, Report, Rung, utilisation


def gate_text(check: Check) -> str:
    """`relative L2 1.2e-06 <= 1e-05`, or a dash for a check without a gate."""
    if check.gate is None or check.value is None:
        return "-"
    metric = METRICS[check.gate.metric]
    return f"{metric.label} {check.value:.3g} {'>=' if metric.higher_is_better else '<='} {check.gate.limit:.3g}"


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
    return lines + [f"{rung.name} is ambiguous: {rung.explanation}" for rung in report.rungs if rung.explanation]


def to_markdown(report: Report) -> str:
    """A page with the verdict, the ladder, and for each rung every check with its gate and its measures."""
    lines = [
        f"# Parity of {report.bundle}: {report.verdict}",
        "",
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


def to_junit(report: Report) -> str:
    """JUnit XML: a suite for each rung, a case for each check.

    What was asked for and did not run is a failed case, because the verdict is not green; what may be skipped is a
    skipped one.
    """
    suites = ElementTree.Element("testsuites", name=f"parity of {report.bundle}", time=f"{report.seconds:.3f}")
    for rung in report.rungs:
        _suite(suites, report, rung)
    if report.standing:
        suite = ElementTree.SubElement(
            suites, "testsuite", name="recorded verdict", tests="1", failures="1", skipped="0"
        )
        case = ElementTree.SubElement(suite, "testcase", classname="manifest", name="recorded verdict")
        ElementTree.SubElement(case, "failure", message=report.reason)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _suite(suites: ElementTree.Element, report: Report, rung: Rung) -> None:
    missing = rung.not_run(report.targets)
    failures = sum(check.status == "failed" for check in rung.checks)
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        name=f"{rung.name} {rung.title}",
        tests=str(len(rung.checks) + len(missing)),
        failures=str(failures + (0 if rung.may_be_skipped else len(missing))),
        skipped=str(len(missing) if rung.may_be_skipped else 0),
        time=f"{rung.seconds:.3f}",
    )
    for check in rung.checks:
        case = ElementTree.SubElement(suite, "testcase", classname=f"{rung.name}.{check.stage}", name=_case(check))
        if check.status == "failed":
            ElementTree.SubElement(case, "failure", message=check.finding)
        ties = "" if check.near_ties is None else f"; ambiguous: {check.near_ties.sentence}"
        ElementTree.SubElement(case, "system-out").text = f"{gate_text(check)}; used {utilisation(check):.3g}{ties}"
    for text in missing:
        name = text.partition(":")[0].removeprefix(f"{rung.name} was ")
        case = ElementTree.SubElement(suite, "testcase", classname=rung.name, name=name)
        ElementTree.SubElement(case, "skipped" if rung.may_be_skipped else "failure", message=text)


def _case(check: Check) -> str:
    return f"{check.place} ({check.circumstances})"
