"""How far one tensor, or one answer, is from another. NumPy only, so that `nexus-edge verify` can use it on a device.

Every function takes `actual` (what the artefact computed) before `expected` (what it should be) and works in float64.
A measurement is a plain mapping from a name in `METRICS` to a number; which of them gates a rung is said in
`tolerances.toml`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Floats = NDArray[np.float64]
Measures = Mapping[str, float]
Values = Mapping[str, Array]
"""Tensors by the names that a graph gives them."""


@dataclass(frozen=True)
class Metric:
    """What a metric is called in reports, and which way is better."""

    label: str
    higher_is_better: bool = False

    def holds(self, value: float, limit: float) -> bool:
        """True when `value` is within `limit`; NaN never is."""
        return value >= limit if self.higher_is_better else value <= limit


@dataclass(frozen=True)
class NearTie:
    """When the order of two candidates says nothing.

    Errors of their scores, as measured in the same run, have some deviation, and so has the difference of two of them,
    times the root of 2. A gap of less than `times` of that may close by chance. How large errors may be is no question
    of order: what the scores are made of is gated beside it.

    Attributes:
        times: of the difference's deviation
    """

    times: float = 0.0

    def margin(self, scatter: float) -> float:
        """The gap below which two candidates nearly tie, in the unit of `scatter`, the deviation of the errors; 0 where
        that is no number: what is broken ties with nothing."""
        return self.times * math.sqrt(2.0) * scatter if math.isfinite(scatter) else 0.0


METRICS: Mapping[str, Metric] = {
    "max_abs": Metric("max |Δ|"),
    "mean_abs": Metric("mean |Δ|"),
    "relative_l2": Metric("relative L2"),
    "cosine": Metric("cosine, worst row", higher_is_better=True),
    "kl": Metric("KL, mean (nat)"),
    "kl_max": Metric("KL, worst (nat)"),
    "top1_agreement": Metric("top-1 agreement", higher_is_better=True),
    "greedy_agreement": Metric("greedy agreement", higher_is_better=True),
    "ambiguous": Metric("near ties"),
    "items": Metric("examples", higher_is_better=True),
    "decisions": Metric("decisions compared", higher_is_better=True),
    "near_tie": Metric("gap below which two nearly tie"),
    "perplexity_delta": Metric("perplexity, relative change"),
    "exact_match": Metric("exact match", higher_is_better=True),
    "exact_match_reference": Metric("exact match, full precision", higher_is_better=True),
    "exact_match_drop": Metric("exact match lost"),
    "cosine_mean": Metric("cosine, mean", higher_is_better=True),
    "flips": Metric("top-1 flips, near ties included"),
    "kendall": Metric("Kendall tau, mean", higher_is_better=True),
    "kendall_worst": Metric("Kendall tau, worst row", higher_is_better=True),
    "kendall_decided": Metric("Kendall tau without near ties", higher_is_better=True),
    "accuracy": Metric("zero-shot accuracy", higher_is_better=True),
    "accuracy_reference": Metric("zero-shot accuracy, full precision", higher_is_better=True),
    "accuracy_drop": Metric("zero-shot accuracy lost"),
    "recall_at_1": Metric("recall@1", higher_is_better=True),
    "recall_at_1_reference": Metric("recall@1, full precision", higher_is_better=True),
    "recall_at_5": Metric("recall@5", higher_is_better=True),
    "recall_at_5_reference": Metric("recall@5, full precision", higher_is_better=True),
    "recall_drop": Metric("recall lost, worst k"),
    "steps": Metric("quantization steps, worst"),
    "mismatches": Metric("mismatches"),
}


def _rows(tensor: Array) -> Floats:
    """`tensor` as float64 [rows, last dimension]."""
    wide = np.asarray(tensor, dtype=np.float64)
    return wide.reshape(-1, wide.shape[-1] if wide.ndim else 1)


def _check_shapes(actual: Array, expected: Array) -> None:
    if actual.shape != expected.shape:
        raise ValueError(f"shapes differ: actual {list(actual.shape)}, expected {list(expected.shape)}")


def compare(actual: Array, expected: Array) -> dict[str, float]:
    """Max and mean absolute error, relative L2 error ||a - e|| / ||e||, and the smallest cosine over rows.

    Rows are the vectors along the last dimension; two zero rows count as equal. A value that is not finite in `actual`
    makes every error infinite and the cosine -1: a broken kernel must not pass because a NaN compares as false.

    Raises:
        ValueError: the shapes differ.
    """
    _check_shapes(actual, expected)
    a, e = _rows(actual), _rows(expected)
    if not a.size:
        return {"max_abs": 0.0, "mean_abs": 0.0, "relative_l2": 0.0, "cosine": 1.0}
    if not np.isfinite(a).all():
        return {"max_abs": np.inf, "mean_abs": np.inf, "relative_l2": np.inf, "cosine": -1.0}
    error = np.abs(a - e)
    norm, error_norm = float(np.linalg.norm(e)), float(np.linalg.norm(error))
    return {
        "max_abs": float(error.max()),
        "mean_abs": float(error.mean()),
        "relative_l2": error_norm / norm if norm else (0.0 if error_norm == 0 else np.inf),
        "cosine": float(_row_cosines(a, e).min()),
    }


def _row_cosines(a: Floats, e: Floats) -> Floats:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(e, axis=1)
    same = (a == e).all(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (a * e).sum(axis=1) / norms
    return np.where(same, 1.0, np.where(norms > 0, np.clip(cosines, -1, 1), 0.0))


def log_softmax(logits: Array) -> Floats:
    """Log-probabilities over the last dimension, in float64."""
    wide = np.asarray(logits, dtype=np.float64)
    shifted = wide - wide.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float64)


def top2_margin(logits: Array) -> Floats:
    """How far the two largest logits are apart, in standard deviations of all: [..., vocab] -> [...].

    Relative, because the same disturbance moves the logits of a confident model by more than those of a hesitant one.
    """
    wide = np.asarray(logits, dtype=np.float64)
    top = np.partition(wide, -2, axis=-1)[..., -2:]
    with np.errstate(invalid="ignore", divide="ignore"):
        margin = (top[..., 1] - top[..., 0]) / wide.std(axis=-1)
    return np.asarray(np.nan_to_num(margin), dtype=np.float64)  # all logits equal: nothing but ties


LARGEST = 64
"""Logits of a row whose errors count: those of the largest are several times those of all, and they alone can tie. So
many that one pair, which came out in another order, does not make itself a tie."""


def scatter(actual: Array, expected: Array) -> float:
    """Deviation of the errors of the largest logits of [..., vocab], in deviations of all expected logits of their row.

    What all logits of a row are off by changes no order and is left out. Infinite where a value is not finite.
    """
    a, e = _rows(actual), _rows(expected)
    if not np.isfinite(a).all():
        return math.inf
    if not a.size:
        return 0.0
    errors = a - e - (a - e).mean(axis=1, keepdims=True)
    count = min(LARGEST, e.shape[1])
    largest = np.take_along_axis(errors, np.argpartition(e, -count, axis=1)[:, -count:], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = [(part**2).mean(axis=1) / e.var(axis=1) for part in (errors, largest)]
    return max(float(np.sqrt(np.nan_to_num(row, posinf=0.0).mean())) for row in rows)


def compare_logits(actual: Array, expected: Array, near_tie: NearTie) -> dict[str, float]:
    """`compare` plus KL(expected || actual) and top-1 agreement over all rows of [..., vocab].

    A row where the two differ in top-1 although the expected margin (`top2_margin`) is below what errors of the size
    found here may close (`near_tie`) is *ambiguous*: it is counted under that name and left out of the agreement.

    Raises:
        ValueError: the shapes differ.
    """
    measures = compare(actual, expected)
    if not np.isfinite(measures["max_abs"]):
        return measures | {"kl": np.inf, "kl_max": np.inf, "top1_agreement": 0.0, "ambiguous": 0.0}
    a, e = _rows(actual), _rows(expected)
    expected_log, actual_log = log_softmax(e), log_softmax(a)
    # KL is >= 0; float64 rounding of equal rows can leave -1e-17.
    kl = np.maximum((np.exp(expected_log) * (expected_log - actual_log)).sum(axis=1), 0.0)
    differs = a.argmax(axis=1) != e.argmax(axis=1)
    margin = near_tie.margin(scatter(a, e))
    tied = differs & (top2_margin(e) < margin)
    decided = len(differs) - int(tied.sum())
    return measures | {
        "kl": float(kl.mean()),
        "kl_max": float(kl.max()),
        "top1_agreement": 1.0 - int((differs & ~tied).sum()) / decided if decided else 1.0,
        "ambiguous": float(tied.sum()),
        "decisions": float(len(differs)),
        "near_tie": margin,
    }


@dataclass(frozen=True)
class GreedyComparison:
    """Two greedy continuations side by side, up to where they may legitimately part."""

    agreed: int
    compared: int
    first_difference: int | None
    ambiguous: bool
    near_tie: float = 0.0

    @property
    def measures(self) -> dict[str, float]:
        agreement = self.agreed / self.compared if self.compared else 1.0
        return {
            "greedy_agreement": agreement,
            "ambiguous": float(self.ambiguous),
            "decisions": float(self.compared + self.ambiguous),
            "near_tie": self.near_tie,
        }


def compare_greedy(
    actual: Sequence[int], expected: Sequence[int], margins: Sequence[float], near_tie: float
) -> GreedyComparison:
    """Token by token until the first difference.

    After a difference the two texts condition on different tokens, so nothing later says anything about the artefact.
    If the expected top-2 margin there is below `near_tie` the difference is ambiguous: the tokens before it agreed and
    the rest is not counted. Otherwise everything from there on counts as disagreement.

    Args:
        actual: token ids of the artefact.
        expected: token ids of the reference.
        margins: `top2_margin` of the reference at each expected token.
        near_tie: margin below which a difference is ambiguous.
    """
    length = max(len(actual), len(expected))
    first = next((i for i in range(length) if i >= len(actual) or i >= len(expected) or actual[i] != expected[i]), None)
    if first is None:
        return GreedyComparison(length, length, None, ambiguous=False, near_tie=near_tie)
    # Where one of the two stopped early the reference's margin at that step still decides, if it took that step.
    if first < len(margins) and margins[first] < near_tie:
        return GreedyComparison(first, first, first, ambiguous=True, near_tie=near_tie)
    return GreedyComparison(first, length, first, ambiguous=False, near_tie=near_tie)


def perplexity(logits: Array, targets: Sequence[int] | NDArray[np.int64]) -> float:
    """exp of the mean negative log-likelihood of `targets` [tokens] under `logits` [tokens, vocab].

    Raises:
        ValueError: there is no target, or not one target for each row.
    """
    ids = np.asarray(targets, dtype=np.int64)
    if not len(ids) or len(ids) != len(logits):
        raise ValueError(f"{len(logits)} rows of logits for {len(ids)} targets")
    return float(np.exp(-log_softmax(logits)[np.arange(len(ids)), ids].mean()))
