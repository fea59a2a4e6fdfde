"""Two records held against each other, and against the budgets."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Literal

import numpy as np

from nexus_edge.compare.budgets import BUDGETS, Budget
from nexus_edge.compare.record import Floats, Record, Reply
from nexus_edge.errors import InputError

Verdict = Literal["passed", "rejected", "incomplete", "not gated"]
"""`rejected`: beyond a budget. `incomplete`: within all that could be judged, but one could not. `not gated`: no
budget, so nothing was judged."""

SPEEDS = {
    "tokens_per_s_ratio": "tokens_per_s",
    "prefill_ratio": "prefill_tokens_per_s",
    "images_per_s_ratio": "images_per_s",
    "texts_per_s_ratio": "texts_per_s",
}
GB = 1e9


@dataclass(frozen=True)
class Judgement:
    """One budget. `value` is None where it could not be judged, and `reason` says why."""

    name: str
    limit: float
    value: float | None
    reason: str = ""

    @property
    def budget(self) -> Budget:
        return BUDGETS[self.name]

    @property
    def holds(self) -> bool:
        """False also where nothing was measured."""
        return self.value is not None and self.budget.holds(self.value, self.limit)

    @property
    def finding(self) -> str:
        """`size 1.31x, at most 1.05x`"""
        limit = f"{'at least' if self.budget.at_least else 'at most'} {self.budget.text(self.limit)}"
        found = "not measured" if self.value is None else self.budget.text(self.value)
        return f"{self.budget.label} {found}, {limit}"


@dataclass(frozen=True)
class Comparison:
    """A new bundle beside its baseline.

    Attributes:
        old, new: what was measured of each
        same_run: whether both ran here, in turns; else the old one is a file's
        limits: name of `BUDGETS` -> limit
        source: in words, where the items are from
        notes: what a reader should know, such as why layers could not be compared
        skippable: whether a budget that cannot be judged is green
    """

    old: Record
    new: Record
    same_run: bool
    limits: Mapping[str, float]
    source: str
    notes: tuple[str, ...] = ()
    skippable: bool = False

    @cached_property
    def measures(self) -> dict[str, float]:
        """Everything that was measured of both, by the names of `BUDGETS`."""
        found = {"size_ratio": self.new.size_bytes / self.old.size_bytes, "size_gb": self.new.size_bytes / GB}
        if self.new.load_s and self.old.load_s:
            found["load_time_ratio"] = _ratio(self.new.load_s, self.old.load_s)
        for name, speed in SPEEDS.items():
            if speed in self.new.speeds and speed in self.old.speeds:
                found[name] = _ratio(self.new.speeds[speed], self.old.speeds[speed])
        if self.new.peak_bytes is not None:
            found["peak_memory_gb"] = self.new.peak_bytes / GB
            if self.old.peak_bytes is not None:
                found["peak_memory_ratio"] = self.new.peak_bytes / self.old.peak_bytes
        if self.old.replies and self.new.replies:
            found["answers_changed"] = len(self.changed) / len(self.new.replies)
        if self.cosines:
            found["cosine"] = min(self.cosines.values())
        return found

    @cached_property
    def spread(self) -> dict[str, tuple[float, float]]:
        """Of each timed ratio the smallest and the largest of a round, where there were several."""
        pairs = {"load_time_ratio": (self.new.load_s, self.old.load_s)}
        pairs |= {
            name: (self.new.speeds.get(speed, ()), self.old.speeds.get(speed, ())) for name, speed in SPEEDS.items()
        }
        found = {}
        for name, (new, old) in pairs.items():
            if self.same_run and len(new) == len(old) > 1:
                ratios = [a / b for a, b in zip(new, old, strict=True)]
                found[name] = min(ratios), max(ratios)
        return found

    @cached_property
    def changed(self) -> tuple[tuple[Reply, Reply], ...]:
        """Replies to the same item that differ, old and new."""
        pairs = zip(self.old.replies, self.new.replies, strict=True)
        return tuple((old, new) for old, new in pairs if old.text != new.text)

    @cached_property
    def cosines(self) -> dict[str, float]:
        """Of each kind of vectors the smallest cosine between old and new."""
        names = [name for name in self.new.vectors if name in self.old.vectors]
        return {name: _cosine(name, self.new.vectors[name], self.old.vectors[name]) for name in names}

    @cached_property
    def drift(self) -> dict[str, tuple[float, ...]]:
        """Relative L2 distance of new from old, layer by layer, for each graph and item that both were traced on."""
        found = {}
        for name, layers in self.new.layers.items():
            before = self.old.layers.get(name, ())
            if len(before) == len(layers) and all(a.shape == b.shape for a, b in zip(before, layers, strict=True)):
                found[name] = tuple(_distance(new, old) for new, old in zip(layers, before, strict=True))
        return found

    @cached_property
    def judgements(self) -> tuple[Judgement, ...]:
        """Each budget that was given."""
        return tuple(self._judge(name, limit) for name, limit in self.limits.items())

    @property
    def verdict(self) -> Verdict:
        """See `Verdict`."""
        if not self.judgements:
            return "not gated"
        judged = [judgement for judgement in self.judgements if judgement.value is not None]
        if not all(judgement.holds for judgement in judged):
            return "rejected"
        whole = self.skippable or len(judged) == len(self.judgements)
        return "passed" if whole and judged else "incomplete"

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        new, count = self.new.bundle, len(self.judgements)
        broken = [j.finding for j in self.judgements if j.value is not None and not j.holds]
        unknown = [f"{j.budget.label}: {j.reason}" for j in self.judgements if j.value is None]
        if broken:
            return f"{new} is beyond {len(broken)} of {count} budgets: {'; '.join(broken)}."
        if not count:
            return f"{new} was compared with its baseline. No budgets were given, so nothing was judged."
        within = f"{new} is within {'all' if not unknown else count - len(unknown)} of its {count} budgets"
        return f"{within}; not judged: {'; '.join(unknown)}." if unknown else f"{within}."

    def _judge(self, name: str, limit: float) -> Judgement:
        if BUDGETS[name].same_run and not self.same_run:
            return Judgement(name, limit, None, "the baseline is of another run; give both bundles to measure it")
        if name in self.measures:
            return Judgement(name, limit, self.measures[name])
        return Judgement(name, limit, None, _why_not(name, self.new))


def _why_not(name: str, new: Record) -> str:
    if name == "images_per_s_ratio":
        return "no image was timed; give one with --image"
    if name in SPEEDS:
        return f"{new.bundle} is a model without it"
    if name.startswith("peak_memory"):
        return "this system does not report the peak memory of a process"
    return "it was not measured on both sides"


def _ratio(new: tuple[float, ...], old: tuple[float, ...]) -> float:
    """Median over the rounds, in each of which both sides ran one after the other; over all where rounds differ."""
    if len(new) == len(old):
        return median(a / b for a, b in zip(new, old, strict=True))
    return median(new) / median(old)


def _cosine(name: str, new: Floats, old: Floats) -> float:
    if new.shape != old.shape:
        raise InputError(
            f"{name}: {' x '.join(map(str, old.shape))} numbers before and {' x '.join(map(str, new.shape))} now; "
            "bundles of models of different sizes cannot be compared"
        )
    a, b = new.astype(np.float64), old.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    same = (a == b).all(axis=1)  # also two rows of zeros
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.where(same, 1.0, np.nan_to_num((a * b).sum(axis=1) / lengths, nan=-1.0)).min())


def _distance(new: Floats, old: Floats) -> float:
    a, b = new.astype(np.float64), old.astype(np.float64)
    length = float(np.linalg.norm(b))
    distance = float(np.linalg.norm(a - b))
    return distance / length if length else float(distance > 0)
