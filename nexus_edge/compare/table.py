"""A comparison for people: in a terminal, and as Markdown for a pull request."""

from collections.abc import Iterator
from statistics import median

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nexus_edge.compare.budgets import BUDGETS
from nexus_edge.compare.comparison import SPEEDS, Comparison, Judgement
from nexus_edge.compare.record import Record

MB = 1e6
SHOWN = 5  # changed answers, in a terminal
STYLES = {"passed": "green", "rejected": "bold red", "incomplete": "yellow", "not gated": "cyan"}
HEADINGS = ("measured", "baseline", "new", "change", "budget", "verdict")
Row = tuple[str, str, str, str, str, str]


def rows(found: Comparison) -> list[Row]:
    """One line for each measurement: what, before, now, change, budget, verdict."""
    judged = {judgement.name: judgement for judgement in found.judgements}
    old, new = found.old, found.new
    lines = [
        _row(found, judged, "size_ratio", "size", f"{old.size_bytes / MB:.1f} MB", f"{new.size_bytes / MB:.1f} MB")
    ]
    if old.load_s and new.load_s:
        seconds = (f"{median(side.load_s):.3f} s" for side in (old, new))
        lines.append(_row(found, judged, "load_time_ratio", "load time, median", *seconds))
    for name, speed in SPEEDS.items():
        if speed in old.speeds and speed in new.speeds:
            values = (f"{median(side.speeds[speed]):.1f} /s" for side in (old, new))
            lines.append(_row(found, judged, name, f"{BUDGETS[name].label}, median", *values))
    if old.peak_bytes and new.peak_bytes:
        peaks = (f"{side.peak_bytes / MB:.0f} MB" for side in (old, new) if side.peak_bytes)
        lines.append(_row(found, judged, "peak_memory_ratio", "peak memory", *peaks))
    if new.replies and old.replies:
        right = (_right(side) for side in (old, new))
        lines.append(_row(found, judged, "answers_changed", f"answers, {len(new.replies)} items", *right))
    for name, cosine in found.cosines.items():
        worst = "cosine" if cosine == found.measures["cosine"] else ""
        lines.append(_row(found, judged, worst, f"{name}, smallest cosine", "", f"{cosine:.5f}"))
    shown = {"size_ratio", "load_time_ratio", *SPEEDS, "peak_memory_ratio", "answers_changed", "cosine"}
    for judgement in found.judgements:
        if judgement.name not in shown or judgement.name not in found.measures:
            value = "" if judgement.value is None else judgement.budget.text(judgement.value)
            lines.append((judgement.budget.label, "", value, "", _limit(judgement), _status(judgement)))
    return lines


def _row(found: Comparison, judged: dict[str, Judgement], name: str, what: str, old: str, new: str) -> Row:
    judgement = judged.get(name)
    change = BUDGETS[name].text(found.measures[name]) if name and name != "cosine" else ""
    if name in found.spread:
        change += " ({:.2f} to {:.2f})".format(*found.spread[name])
    return (what, old, new, change, _limit(judgement) if judgement else "", _status(judgement) if judgement else "")


def _limit(judgement: Judgement) -> str:
    return f"{'>=' if judgement.budget.at_least else '<='} {judgement.budget.text(judgement.limit)}"


def _status(judgement: Judgement) -> str:
    return "not judged" if judgement.value is None else "within" if judgement.holds else "beyond"


def _right(side: Record) -> str:
    known = [reply.right for reply in side.replies if reply.right is not None]
    return f"{sum(known)} of {len(known)} right" if known else ""


def _facts(found: Comparison) -> str:
    """One line on the circumstances."""
    how = f"in turns, rounds: {len(found.new.load_s)}" if found.same_run else "against a saved baseline"
    return f"{found.new.engine} on {found.new.machine}; {how}; items: {found.source}"


def _drift_lines(found: Comparison) -> Iterator[tuple[str, str]]:
    for name, layers in found.drift.items():
        worst = max(range(len(layers)), key=lambda layer: layers[layer])
        last = f"relative L2 {layers[-1]:.2g} after the last of {len(layers)} layers"
        yield name, f"{last}, most {layers[worst]:.2g} (layer {worst})"


def table(found: Comparison) -> RenderableType:
    """For a terminal."""
    title = Text(f"{found.new.folder} against {found.old.folder}", style="bold")  # a folder's name is no markup
    grid = Table(title=title, title_justify="left")
    for index, heading in enumerate(HEADINGS):
        grid.add_column(heading, justify="right" if 0 < index < 4 else "left")
    for line in rows(found):
        style = {"beyond": "bold red", "within": "green", "not judged": "yellow"}.get(line[-1], "")
        grid.add_row(*(Text(cell) for cell in line[:-1]), Text(line[-1], style=style))
    parts: list[RenderableType] = [grid]
    parts += [Text(f"{name}: {text}", style="dim") for name, text in _drift_lines(found)]
    for old, new in found.changed[:SHOWN]:
        parts.append(Text(f"changed, {new.item}: {old.text!r} is now {new.text!r}"))
    if len(found.changed) > SHOWN:
        parts.append(Text(f"and {len(found.changed) - SHOWN} more changed; --json has them all"))
    parts += [Text(note, style="yellow") for note in found.notes]
    parts.append(Text(_facts(found), style="dim"))
    parts.append(Text(f"verdict: {found.verdict}. {found.sentence}", style=STYLES[found.verdict]))
    return Group(*parts)


def to_markdown(found: Comparison) -> str:
    """For a pull request or a job's summary."""
    lines = [f"# {found.new.bundle} against its baseline: {found.verdict}", "", _escaped(found.sentence), ""]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|---|--:|--:|--:|---|---|"]
    lines += ["| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in rows(found)]
    if found.changed:
        lines += [
            "",
            "<details><summary>Answers that changed</summary>",
            "",
            "| item | before | now |",
            "|---|---|---|",
        ]
        lines += [
            f"| {_escaped(new.item)} | {_escaped(old.text)} | {_escaped(new.text)} |" for old, new in found.changed
        ]
        lines += ["", "</details>"]
    drift = list(_drift_lines(found))
    if drift:
        lines += ["", "| layers of | drift |", "|---|---|"]
        lines += [f"| {_escaped(name)} | {_escaped(text)} |" for name, text in drift]
    lines += ["", *(_escaped(note) for note in found.notes), "", _escaped(_facts(found))]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Text of a model is text: no table cell of it ends early, and nothing of it is markup."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
