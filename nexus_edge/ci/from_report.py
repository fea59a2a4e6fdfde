"""The report of `parity` or `verify` as an outcome for CI services."""

import re

from nexus_edge.axes import targets
from nexus_edge.ci.junit import to_junit
from nexus_edge.ci.outcome import Case, Outcome, Status, Suite
from nexus_edge.parity.report.markdown import gate_text, to_markdown
from nexus_edge.parity.report.report import Check, Report, Rung, utilisation
from nexus_edge.parity.words import verdict_sentence

# A tensor's name, and not words with counts in them such as "12 tokens", which differ from run to run.
_TENSOR = re.compile(r"[A-Za-z_][\w.]*")
NOT_RUN = "not run"
STANDING = "recorded verdict"
OWN_LIMITS = "own tolerances"


def outcome_of(report: Report, folder: str, tool: str = "parity") -> Outcome:
    """Everything that a format needs.

    What was asked for and did not run is a failed case, because the verdict is not green; what may be skipped is a
    skipped one.

    Args:
        report: what was found
        folder: the bundle's, as the user wrote it
        tool: the command
    """
    suites = [_suite(report, rung) for rung in report.rungs]
    if report.standing:
        case = Case(STANDING, ("manifest",), "failed", report.reason, "standing", report.standing)
        suites.append(Suite(STANDING, "", (case,)))
    if report.unmet:
        cases = [Case(text, (OWN_LIMITS,), "failed", text, NOT_RUN, text) for text in report.unmet]
        suites.append(Suite(OWN_LIMITS, "", tuple(cases)))
    return Outcome(
        tool=tool,
        subject=report.bundle,
        folder=folder,
        verdict=report.verdict,
        sentence=verdict_sentence(report),
        color="green" if report.verdict == "passed" else "red",
        suites=tuple(suites),
        created=_iso(report.created),
        version=report.toolkit_version,
        properties={
            "checkpoint": report.checkpoint,
            "weights": report.weights,
            "recipe": report.recipe,
            "scheme": report.scheme,
            "targets": ", ".join(report.targets),
            **report.environment,
        },
        markdown=to_markdown(report),
        json=report.to_json(),
    )


def _suite(report: Report, rung: Rung) -> Suite:
    cases = [_case(rung, check) for check in rung.checks]
    for text in rung.not_run(report.targets):
        where = next((target for target in report.targets if f" for {target}" in text), rung.name)
        status: Status = "skipped" if rung.may_be_skipped else "failed"
        advice = "Let it run, or allow it to be skipped (parity --allow-skip, verify --target)."
        cases.append(
            Case(f"{NOT_RUN} ({where})", _rung(rung) or (NOT_RUN,), status, text, NOT_RUN, f"{text}\n{advice}")
        )
    return Suite(rung.name, rung.title, tuple(cases), rung.seconds)


def _case(rung: Rung, check: Check) -> Case:
    group = (*_rung(rung), check.stage)
    name = f"{_what(check)} ({check.circumstances})"
    file = _graph_file(check.target).format(check.stage) if _TENSOR.fullmatch(check.stage) else ""
    facts = {"gate": gate_text(check), "share of the tolerance used": f"{utilisation(check):.3g}"} if check.gate else {}
    if check.status == "failed":
        kind = check.gate.metric if check.gate is not None and check.problem is None else "missing"
        return Case(name, group, "failed", check.finding, kind, _body(rung, check), check.seconds, file, facts)
    if check.near_ties is not None:
        return Case(name, group, "noted", check.near_ties.sentence, "near ties", "", check.seconds, file, facts)
    return Case(name, group, "passed", check.finding, "", "", check.seconds, file, facts)


def _graph_file(target: str) -> str:
    """The file of a graph with {} for its name; "" where a graph is not one file, and for what is of no target."""
    info = targets().get(target)
    return "" if info is None or info.graph_file is None else info.graph_file


def _rung(rung: Rung) -> tuple[str, ...]:
    """The single rung of `verify` is called as the command is, which says it already."""
    return () if rung.name == "verify" else (rung.name,)


def _what(check: Check) -> str:
    """Layer and tensor, without what was measured."""
    layer = [] if check.layer is None else [f"layer {check.layer}"]
    tensor = [check.tensor] if _TENSOR.fullmatch(check.tensor) and check.tensor != check.stage else []
    return ", ".join([*layer, *tensor]) or check.stage


def _body(rung: Rung, check: Check) -> str:
    lines = [f"{rung.name}: {rung.title}", check.finding]
    if check.gate is not None:
        lines.append(f"Why this limit: {check.gate.reason}")
    lines += [f"{name}: {value:.6g}" for name, value in check.measures.items()]
    return "\n".join(lines)


def _iso(created: str) -> str:
    """`2026-11-23 10:05 UTC` -> `2026-11-23T10:05:00+00:00`; anything else stays."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d) UTC", created)
    return f"{match[1]}T{match[2]}:00+00:00" if match else created


def report_junit(report: Report, folder: str = "", tool: str = "parity") -> str:
    """JUnit XML of a report; arguments as in `outcome_of`."""
    return to_junit(outcome_of(report, folder, tool))
