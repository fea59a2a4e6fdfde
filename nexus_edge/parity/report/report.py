"""What the ladder found: checks in the order of the tensor's way, rungs of checks, and a verdict.

    Report -> Rung P0..P5 -> Check (one stage, perhaps one layer, of one case) -> measures + gate

Plain frozen dataclasses; `to_json` and `from_json` are inverse to each other. The writers (markdown, html,
terminal) read these and nothing else.
"""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from nexus_edge._text import parse_json
from nexus_edge.bundle.manifest import Verdict
from nexus_edge.errors import BundleError
from nexus_edge.parity.metrics import METRICS
from nexus_edge.parity.samples import Sample, Similarities
from nexus_edge.parity.tolerances import Gate

Status = Literal["passed", "failed", "ambiguous", "reported", "not run"]
FORMAT_VERSION = 2  # 2: several targets in one report
CARRIED = ", carried"
"""Ends the stage's name of checks in which each layer got what the layer before it made, not the reference's values."""


class NotRunError(Exception):
    """A rung, or a part of one, cannot run here; the message says why. It is reported, never as passed."""


@dataclass(frozen=True)
class NearTies:
    """Decisions (a best token, a best label) that rounding may turn, because the reference's two best nearly tie.

    Attributes:
        found: how many came out differently and were set aside
        decisions: of how many that were compared; 0 where an older report did not count them
    """

    found: int
    decisions: int

    @property
    def sentence(self) -> str:
        """What "ambiguous" means here, with its counts."""
        of = f" of {self.decisions} decisions" if self.decisions else ""
        what = "is a near tie" if self.found == 1 else "are near ties"
        return (
            f"{self.found}{of} {what}: the reference's two best candidates lie closer together than rounding moves "
            "them, so either may come first. They are set aside and all others hold; this is not a failure."
        )


@dataclass(frozen=True)
class Check:
    """One comparison: a stage (and layer) of one case, everything measured there, and the gate if it has one.

    `problem` is set where there is nothing to measure because something is missing or of the wrong shape: that fails.
    `target` is whose graphs were judged; "" where no graph is involved, and what was found holds for all targets.
    `precision` says in words how they were computed, "" where there is no choice. `samples` are for readers alone.
    `made` is when it was found, on the clock of `time.perf_counter`, from which `timed` takes the `seconds` that it
    took; only those are kept.
    """

    stage: str
    tensor: str
    case: str
    measures: Mapping[str, float] = field(default_factory=dict)
    gate: Gate | None = None
    layer: int | None = None
    problem: str | None = None
    target: str = ""
    precision: str = ""
    similarities: Similarities | None = None
    samples: tuple[Sample, ...] = ()
    seconds: float = field(default=0.0, compare=False)
    made: float = field(default_factory=time.perf_counter, compare=False, repr=False)

    @property
    def value(self) -> float | None:
        """The measured value of the gating metric."""
        return None if self.gate is None else self.measures.get(self.gate.metric)

    @property
    def status(self) -> Status:
        """`reported` without a gate; `ambiguous` when it holds only because near ties were set aside."""
        if self.problem is not None:
            return "failed"
        if self.gate is None:
            return "reported"
        value = self.value
        if value is None or not self.gate.holds(value):
            return "failed"
        near_tied = self.gate.metric in ("greedy_agreement", "top1_agreement") and self.measures.get("ambiguous", 0) > 0
        return "ambiguous" if near_tied else "passed"

    @property
    def near_ties(self) -> NearTies | None:
        """What was set aside here, or None where the verdict is not `ambiguous`."""
        if self.status != "ambiguous":
            return None
        return NearTies(int(self.measures["ambiguous"]), int(self.measures.get("decisions", 0)))

    @property
    def place(self) -> str:
        """Where this is, in words: `decoder, layer 3, present.3.key`."""
        layer = [] if self.layer is None else [f"layer {self.layer}"]
        return ", ".join(dict.fromkeys([self.stage, *layer, self.tensor]))

    @property
    def circumstances(self) -> str:
        """The case, the target where one was judged, and in which precision."""
        return ", ".join(dict.fromkeys(text for text in (self.case, self.target, self.precision) if text))

    @property
    def finding(self) -> str:
        """One line that says what was measured against which limit."""
        where = f"{self.place} ({self.circumstances})"
        if self.problem is not None:
            return f"{where}: {self.problem}"
        if self.gate is None or self.value is None:
            return f"{where}: not gated"
        sign = ">=" if METRICS[self.gate.metric].higher_is_better else "<="
        label = METRICS[self.gate.metric].label
        return f"{where}: {label} {self.value:.3g}, needs {sign} {self.gate.limit:.3g}"


_GRAVEST: tuple[Status, ...] = ("failed", "ambiguous", "passed")


def _status(checks: Iterable[Check]) -> Status:
    statuses = {check.status for check in checks}
    if not statuses:
        return "not run"
    return next((s for s in _GRAVEST if s in statuses), "reported")


IN_PART = "not run in part: "
"""How a note begins of what a rung leaves out for want of something, so that it does not count as passed."""


@dataclass(frozen=True)
class Rung:
    """One step of the ladder. `reason` says why it was not run; a rung that was not run never counts as passed.

    `may_be_skipped` says that a verdict does not wait for it: the user allowed it, or an export does not promise it.
    """

    name: str
    title: str
    checks: tuple[Check, ...] = ()
    reason: str | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    may_be_skipped: bool = False

    @property
    def status(self) -> Status:
        return _status(self.checks)

    def status_of(self, target: str) -> Status:
        """What this rung says of one target: "not run" where it judged others and not this one."""
        judged = {check.target for check in self.checks if check.target}
        if judged and target not in judged:
            return "not run"
        return _status(check for check in self.checks if check.target in ("", target))

    def not_run(self, targets: Sequence[str]) -> tuple[str, ...]:
        """In words, what of this rung did not run and why: all of it, one of these targets, or a part of it."""
        if not self.checks:
            return (f"{self.name} was not run: {self.reason or 'nothing to compare'}",)
        found = []
        for target in targets:
            if self.status_of(target) == "not run":
                before = f"not run for {target}: "
                reasons = [note.removeprefix(before) for note in self.notes if note.startswith(before)]
                found.append(f"{self.name} was not run for {target}" + "".join(f": {reason}" for reason in reasons[:1]))
        parts = [note.removeprefix(IN_PART) for note in self.notes if note.startswith(IN_PART)]
        return (*found, *(f"{self.name} was not run in part: {part}" for part in parts))

    @property
    def near_ties(self) -> NearTies | None:
        """All that was set aside on this rung, or None."""
        found = [ties for check in self.checks if (ties := check.near_ties) is not None]
        if not found:
            return None
        return NearTies(sum(ties.found for ties in found), sum(ties.decisions for ties in found))

    @property
    def explanation(self) -> str:
        """What a reader of the verdict should know besides it; "" where it speaks for itself."""
        return "" if self.near_ties is None else self.near_ties.sentence

    @property
    def first_failure(self) -> Check | None:
        """The first stage (and layer) that diverges: checks stand in the order in which the tensor flows."""
        return next((check for check in self.checks if check.status == "failed"), None)

    @property
    def tightest(self) -> Check | None:
        """The gated check that is nearest to its limit, or furthest beyond it."""
        gated = [check for check in self.checks if check.gate is not None and check.value is not None]
        return max(gated, key=utilisation, default=None)


def timed(checks: Iterable[Check], started: float) -> tuple[Check, ...]:
    """The same checks with the seconds that each took: since the one before it was made, or since `started`.

    What several checks share, such as the run of a graph, counts for the first of them.
    """
    kept = tuple(checks)
    moments = sorted(check.made for check in kept)
    before = dict(reversed(list(zip(moments, [started, *moments], strict=False))))  # of equal ones the first counts
    return tuple(replace(check, seconds=round(max(0.0, check.made - before[check.made]), 6)) for check in kept)


def utilisation(check: Check) -> float:
    """Share of the tolerance that is used: 1 is exactly at the limit, above 1 has failed."""
    if check.gate is None or check.value is None or math.isnan(check.value):
        return math.inf
    value, limit = check.value, check.gate.limit
    if METRICS[check.gate.metric].higher_is_better:
        value, limit = 1.0 - value, 1.0 - limit
    if limit <= 0:
        return 0.0 if value <= 0 else math.inf
    return value / limit


@dataclass(frozen=True)
class Report:
    """The whole ladder for one bundle and all of its targets.

    `weights` is the manifest's kind of weights (real, trained-tiny, synthetic), so that no figure is read as one of
    another kind, and `origin` says in words whose they are (the published checkpoint, a fine-tune of it, ...); `scheme`
    is the scheme class that chose the tolerances; `recipe` is the recipe's name.

    `standing` is why the bundle was rejected before, where this run is not one that could clear it because the ladder
    was not run whole. `tolerances` names the user's own file of tolerances, "" where there is none,
    and `unmet` says in words which of its entries nothing was judged by.
    `sizes` are the bytes of each graph, as "onnx, decoder", and of what all share.
    """

    bundle: str
    model_type: str
    checkpoint: str
    weights: str
    recipe: str
    scheme: str
    targets: tuple[str, ...]
    toolkit_version: str
    created: str
    rungs: tuple[Rung, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
    standing: str = ""
    tolerances: str = ""
    unmet: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """See `Verdict`."""
        statuses = {rung.status for rung in self.rungs}
        if "failed" in statuses or self.standing:
            return "rejected"
        if not statuses & {"passed", "ambiguous"}:
            return "not run"
        return "incomplete" if self.missing else "passed"

    @property
    def missing(self) -> tuple[str, ...]:
        """In words, what was asked for and did not run, without what may be skipped, and own limits of nothing."""
        rungs = [text for rung in self.rungs if not rung.may_be_skipped for text in rung.not_run(self.targets)]
        return (*rungs, *self.unmet)

    @property
    def skipped(self) -> tuple[str, ...]:
        """In words, what did not run and may be skipped."""
        return tuple(text for rung in self.rungs if rung.may_be_skipped for text in rung.not_run(self.targets))

    @property
    def reason(self) -> str:
        """One line: why the verdict is not `passed`; "" where it is."""
        failure = self.first_failure
        if failure is not None:
            return f"{failure[0].name}: {failure[1].finding}"
        if self.standing:
            return f"the bundle is recorded as rejected, which only the whole ladder can clear: {self.standing}"
        return "; ".join(self.missing) or ("" if self.verdict == "passed" else "nothing was gated")

    @property
    def weights_note(self) -> str:
        """Whose weights these are, and that no figure of a stand-in is one of the real model."""
        stand_in = "" if self.weights == "real" else " No figure here is one of the real model."
        return f"Weights: {self.origin or self.weights}.{stand_in}"

    @property
    def seconds(self) -> float:
        return sum(rung.seconds for rung in self.rungs)

    @property
    def first_failure(self) -> tuple[Rung, Check] | None:
        """The lowest rung that failed, with the first check that diverges there."""
        for rung in self.rungs:
            if (check := rung.first_failure) is not None:
                return rung, check
        return None

    @property
    def summary(self) -> dict[str, Any]:
        """What the manifest keeps: the verdict, each rung's status in all and by target, in words why it is not
        `passed` ("" if it is), and what did not run and may be skipped."""
        return {
            "verdict": self.verdict,
            "rungs": {rung.name: rung.status for rung in self.rungs},
            "targets": {t: {rung.name: rung.status_of(t) for rung in self.rungs} for t in self.targets},
            "reason": self.reason,
            "skipped": list(self.skipped),
        } | ({"tolerances": self.tolerances} if self.tolerances else {})

    def to_json(self) -> str:
        """Indented JSON with the derived verdict and statuses; numbers that are not finite become strings."""
        document = {"format_version": FORMAT_VERSION, "summary": self.summary, **asdict(self)}
        for check in (check for rung in document["rungs"] for check in rung["checks"]):
            del check["made"]
        return json.dumps(_finite(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON knows no infinity and no NaN: `inf` and `nan` travel as strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def from_json(text: str) -> Report:
    """Read what `to_json` wrote.

    Raises:
        BundleError: not such a document.
    """
    try:
        document = parse_json(text)
        if document["format_version"] != FORMAT_VERSION:
            raise BundleError(
                f"report.json has format {document['format_version']}; this version reads {FORMAT_VERSION}"
            )
        rungs = tuple(_rung(raw) for raw in document["rungs"])
        names = ("bundle", "model_type", "checkpoint", "weights", "recipe", "scheme", "toolkit_version", "created")
        fields = {name: str(document[name]) for name in names}
        targets = tuple(str(target) for target in document["targets"])
        fields |= {name: str(document.get(name, "")) for name in ("origin", "standing", "tolerances")}
        sizes = {name: int(size) for name, size in document.get("sizes", {}).items()}
        unmet = tuple(map(str, document.get("unmet", ())))
        environment = document["environment"]
        return Report(targets=targets, rungs=rungs, environment=environment, sizes=sizes, unmet=unmet, **fields)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"report.json is not a parity report ({error}); run `nexus-edge parity` again") from error


def _rung(raw: Mapping[str, Any]) -> Rung:
    checks = tuple(
        Check(
            stage=check["stage"],
            tensor=check["tensor"],
            case=check["case"],
            measures={name: float(value) for name, value in check["measures"].items()},
            gate=None if check["gate"] is None else Gate(**check["gate"]),
            layer=check["layer"],
            problem=check["problem"],
            target=check["target"],
            precision=check.get("precision", ""),
            samples=tuple(Sample.from_json(sample) for sample in check.get("samples", ())),
            seconds=float(check.get("seconds", 0.0)),
            similarities=check["similarities"] and Similarities.from_json(check["similarities"]),
        )
        for check in raw["checks"]
    )
    may_be_skipped = bool(raw.get("may_be_skipped", False))
    return Rung(raw["name"], raw["title"], checks, raw["reason"], tuple(raw["notes"]), raw["seconds"], may_be_skipped)
