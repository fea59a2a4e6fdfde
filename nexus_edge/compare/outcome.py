"""A comparison as CI services read it: a case for each budget, and as JSON."""

import json
import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from nexus_edge import __version__
from nexus_edge.ci.outcome import Case, Outcome, Suite
from nexus_edge.compare.comparison import Comparison, Judgement
from nexus_edge.compare.table import to_markdown

TITLE = "budgets: the new bundle against its baseline"


def outcome_of(found: Comparison) -> Outcome:
    """Everything that a format needs."""
    cases = tuple(_case(judgement, found) for judgement in found.judgements)
    seconds = sum(found.new.load_s) + (sum(found.old.load_s) if found.same_run else 0.0)
    return Outcome(
        tool="compare",
        subject=found.new.bundle,
        folder=found.new.folder,
        verdict=found.verdict,
        sentence=found.sentence,
        color="green" if found.verdict in ("passed", "not gated") else "red",
        suites=(Suite("budgets", TITLE, cases, seconds),),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        properties={
            "baseline": found.old.folder,
            "engine": found.new.engine,
            "machine": found.new.machine,
            "items": found.source,
            "weights": found.new.weights,
        },
        markdown=to_markdown(found),
        json=to_json(found),
    )


def _case(judgement: Judgement, found: Comparison) -> Case:
    group = ("budgets",)
    if judgement.value is None:
        status: Any = "noted" if found.skippable else "skipped"
        return Case(judgement.name, group, status, judgement.reason, judgement.name)
    if judgement.holds:
        return Case(judgement.name, group, "passed", judgement.finding)
    lines = [judgement.finding, judgement.budget.why, f"baseline: {found.old.folder}", f"new: {found.new.folder}"]
    if judgement.name in found.spread:
        lines.append("of single rounds: {:.3f} to {:.3f}".format(*found.spread[judgement.name]))
    if judgement.name == "answers_changed":
        lines += [f"{new.item}: {old.text!r} is now {new.text!r}" for old, new in found.changed]
    if judgement.name == "cosine":
        lines += [f"{name}: {cosine:.6f}" for name, cosine in found.cosines.items()]
    lines.append("If the change is meant, record the new baseline, or raise the budget in the recipe's [gates].")
    return Case(judgement.name, group, "failed", judgement.finding, judgement.name, "\n".join(lines))


def to_json(found: Comparison) -> str:
    """Everything, with both records; `--baseline` reads it, and takes the new side."""
    document = {
        "verdict": found.verdict,
        "sentence": found.sentence,
        "same_run": found.same_run,
        "items": found.source,
        "measures": {name: _finite(value) for name, value in found.measures.items()},
        "gates": [
            {**asdict(judgement), "value": _finite(judgement.value), "holds": judgement.holds}
            for judgement in found.judgements
        ],
        "changed": [{"item": new.item, "old": old.text, "new": new.text} for old, new in found.changed],
        "cosines": found.cosines,
        "drift": {name: [_finite(value) for value in layers] for name, layers in found.drift.items()},
        "notes": list(found.notes),
        "old": found.old.to_json(),
        "new": found.new.to_json(),
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)
