"""Reads the files `tolerances.toml`, the only home of a tolerance: which metric gates what, at which limit, and why.

parity/tolerances.toml has what all share, parity/<kind>/ what a kind of models needs, targets/<target>/ what a target,
and models/<family>/ what one family alone needs.

Names in a pattern are held against those that exist: an entry that can never match would switch a gate off unseen.

A gate is looked up by rung, stage, target, scheme class, kind of weights (real, trained-tiny, synthetic) and, where a
target knows several ways to compute, its precision. Entries are fnmatch patterns; like in recipes the last match wins,
so the files go from general to special. A stage without an entry is measured and reported, never gated.
"""

import sys
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, get_args

from nexus_edge import models
from nexus_edge._typed import suggest
from nexus_edge.axes import targets
from nexus_edge.bundle.source import Weights
from nexus_edge.errors import NexusEdgeError
from nexus_edge.parity.metrics import METRICS, Measures, NearTie

FILE = Path(__file__).with_name("tolerances.toml")
"""What all share."""

SCHEME_CLASSES = ("float32", "float16", "int8", "int4", "mixed")

RUNGS = ("P0", "P1", "P2", "P2, carried", "P3", "P3, carried", "P4", "P5", "eval")
"""What a ladder's gates can be of; "carried": each layer gets what the layer before it made."""

VERIFY = "verify"
_STORAGES = ("float", "int8", "int8 compensated", "int4", "int4 compensated")  # of one weight, see `parity.weights`
_ANY_SCHEME = "*"  # of what no scheme changes

_PATTERNS = ("rung", "stage", "target", "scheme", "weights", "precision")  # what is not given matches everything
_ROUNDING = ("rounding", "least", "most")  # see `Gate`
_NEAR_TIE_PATTERNS = ("rung", "stage", "scheme", "precision")


@dataclass(frozen=True)
class Gate:
    """One metric, its limit, and why the limit is what it is.

    Attributes:
        metric: one of `METRICS`
        limit: a ceiling, or a floor where more is better; where nobody could measure what rounding does to a value
        reason: why
        rounding: where that is known, this many times of it are the limit ...
        least: ... but not less than this, which float32 alone may do ...
        most: ... and not more than this, beyond which nothing is called rounding
    """

    metric: str
    limit: float
    reason: str
    rounding: float | None = None
    least: float = 0.0
    most: float = 0.0

    def with_rounding(self, effect: Measures | None) -> "Gate":
        """The same gate for a value that errors of its formats move by `effect`; unchanged where nobody knows."""
        if self.rounding is None or effect is None or self.metric not in effect:
            return self
        moved = effect[self.metric]
        limit = min(max(self.least, self.rounding * moved), self.most)
        return replace(self, limit=limit)

    def holds(self, value: float) -> bool:
        """True when `value` of this gate's metric is within the limit; NaN never is."""
        return METRICS[self.metric].holds(value, self.limit)


@dataclass(frozen=True)
class _Entry:
    patterns: tuple[str, ...]  # in the order of _PATTERNS
    gate: Gate

    def matches(self, *values: str) -> bool:
        return match(values, self.patterns)


def match(values: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    """Whether each value matches the pattern at its place."""
    return all(fnmatchcase(value, pattern) for value, pattern in zip(values, patterns, strict=True))


@dataclass(frozen=True)
class Tolerances:
    """Gates and near-tie margins, from general to special."""

    entries: tuple[_Entry, ...]
    near_ties: tuple[tuple[tuple[str, ...], NearTie], ...]  # in the order of _NEAR_TIE_PATTERNS, and the rule

    def gate(self, rung: str, stage: str, target: str, scheme: str, weights: str, precision: str = "") -> Gate | None:
        """The last entry that matches, or None where a stage is only reported."""
        wanted = (rung, stage, target, scheme, weights, precision)
        return next((entry.gate for entry in reversed(self.entries) if entry.matches(*wanted)), None)

    def near_tie(self, rung: str, stage: str, scheme: str, precision: str = "") -> NearTie:
        """When the order of two candidates says nothing; never, where no entry matches."""
        wanted = (rung, stage, scheme, precision)
        return next((rule for patterns, rule in reversed(self.near_ties) if match(wanted, patterns)), NearTie())

    def unmet(self, ran: Collection[str]) -> tuple[str, ...]:
        """In words, what of a user's own file decided nothing although its rungs `ran`; the package's may idle."""
        return ()


class TolerancesError(NexusEdgeError):
    """`tolerances.toml` is wrong: a defect of this package, or of the copy that was passed."""


def _table(entry: object, needed: set[str], optional: set[str], where: str) -> Mapping[str, Any]:
    if not isinstance(entry, dict) or not needed <= set(entry) <= needed | optional:
        raise TolerancesError(
            f"{where}: an entry has the keys {', '.join(sorted(needed))}, and may have {', '.join(sorted(optional))}"
        )
    for key in {"metric", "reason"} & set(entry):
        if not isinstance(entry[key], str):
            raise TolerancesError(f"{where}: {key} is {entry[key]!r:.60}; text is needed")
    if not entry["reason"].strip():
        raise TolerancesError(f"{where}: a tolerance needs a reason")
    return entry


def _number(entry: Mapping[str, Any], key: str, where: str) -> float:
    value = entry[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        raise TolerancesError(f"{where}: {key} is {value!r:.60}; a finite number >= 0 is needed")
    return float(value)


def _read_patterns(
    entry: Mapping[str, Any], keys: tuple[str, ...], rungs: Sequence[str], where: str
) -> tuple[str, ...]:
    known = {
        "rung": rungs,
        "target": ("", *targets()),  # "" is what involves no graph
        "scheme": (*SCHEME_CLASSES, *_STORAGES, _ANY_SCHEME),
        "weights": get_args(Weights),
    }
    for key in keys:
        pattern = entry.get(key, "*")
        if not isinstance(pattern, str):
            raise TolerancesError(f"{where}: {key} is {pattern!r:.60}; a text is needed, which may have * and ? in it")
        names = known.get(key)  # stages and precisions are what a run finds, see `unmet`
        if names is not None and not any(fnmatchcase(name, pattern) for name in names):
            hint = suggest(pattern, (name for name in names if name not in ("", _ANY_SCHEME) and "," not in name))
            raise TolerancesError(f"{where}: {key} = {pattern!r:.60} matches none{hint}")
    return tuple(entry.get(key, "*") for key in keys)


def parse(document: Mapping[str, Any], origin: str, rungs: Sequence[str] = (*RUNGS, VERIFY)) -> Tolerances:
    """Validate the tables `[[gate]]` and `[[near_tie]]` of a TOML document, which are of some of these `rungs`.

    Raises:
        TolerancesError: a key is missing or unknown, a reason is empty, a name matches none that exists, or a metric or
            limit cannot be used.
    """
    if set(document) - {"gate", "near_tie"}:
        raise TolerancesError(f"{origin}: only [[gate]] and [[near_tie]] are known here")
    for key, tables in document.items():
        if not isinstance(tables, list):
            raise TolerancesError(f"{origin}: {key} is {tables!r}; it must be tables, [[{key}]]")
    entries = []
    for i, raw in enumerate(document.get("gate", ())):
        where = f"{origin}, gate {i + 1}"
        entry = _table(raw, {"rung", "metric", "limit", "reason"}, {*_PATTERNS, *_ROUNDING}, where)
        if entry["metric"] not in METRICS:
            raise TolerancesError(f"{where}: unknown metric {entry['metric']!r}; known: {', '.join(METRICS)}")
        if entry.keys() & set(_ROUNDING) and not entry.keys() >= set(_ROUNDING):
            raise TolerancesError(f"{where}: {', '.join(_ROUNDING)} go together")
        bounds = [_number(entry, key, where) for key in _ROUNDING if key in entry]
        gate = Gate(entry["metric"], _number(entry, "limit", where), " ".join(entry["reason"].split()), *bounds)
        entries.append(_Entry(_read_patterns(entry, _PATTERNS, rungs, where), gate))
    near_ties = []
    for i, raw in enumerate(document.get("near_tie", ())):
        where = f"{origin}, near_tie {i + 1}"
        entry = _table(raw, {"times", "reason"}, set(_NEAR_TIE_PATTERNS), where)
        patterns = _read_patterns(entry, _NEAR_TIE_PATTERNS, rungs, where)
        near_ties.append((patterns, NearTie(_number(entry, "times", where))))
    return Tolerances(tuple(entries), tuple(near_ties))


def files(family: str = "") -> list[Path]:
    """All that hold for a family, which is named by its model_type, from general to special; "": for none."""
    package = FILE.parents[1]
    found = [FILE, *sorted(package.glob(f"parity/*/{FILE.name}")), *sorted(package.glob(f"targets/*/{FILE.name}"))]
    own = [Path(room) / family / FILE.name for room in models.__path__] if family else []
    return found + [path for path in own if path.is_file()]


@cache
def load(family: str = "") -> Tolerances:
    """Read and validate the tolerances of `files`, once for each family.

    Raises:
        TolerancesError: see `parse`.
    """
    entries, near_ties = list[_Entry](), list[tuple[tuple[str, ...], NearTie]]()
    for path in files(family):
        found = parse(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
        entries += found.entries
        near_ties += found.near_ties
    return Tolerances(tuple(entries), tuple(near_ties))
