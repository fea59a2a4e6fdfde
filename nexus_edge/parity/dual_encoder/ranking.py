"""What users of two towers feel of an error in the embeddings: another best match, another order, other hits.

All functions take similarities [rows, candidates], `actual` before `expected`. NumPy only, for `nexus-edge verify`.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nexus_edge.assets.heldout_crops import recall_at, zero_shot_accuracy
from nexus_edge.parity.metrics import Array, Floats, compare, log_softmax
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Judge

RECALL_AT = (1, 5)


def softmax(logits: Array) -> Floats:
    """Over the last dimension, in float64."""
    return np.asarray(np.exp(log_softmax(logits)), np.float64)


def compare_embeddings(actual: Array, expected: Array) -> dict[str, float]:
    """`compare`, where "cosine" is that of the worst embedding, and the mean over all [embeddings, dim]."""
    measures = compare(actual, expected)
    a, e = (np.asarray(rows, np.float64) for rows in (actual, expected))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(e, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (a * e).sum(axis=1) / lengths
    return measures | {"cosine_mean": float(cosines.mean()) if np.isfinite(cosines).all() else -1.0}


def error_deviation(*pairs: tuple[Array, Array]) -> float:
    """Deviation of the errors of some matrices of cosines, `actual` and `expected` each.

    What a whole row is off by changes no order and is left out. Of one matrix of 6 x 3 this says little more than where
    the two differ in order; so a caller gives all matrices that the same errors are in.
    """
    errors = []
    for actual, expected in pairs:
        error = np.asarray(actual, np.float64) - np.asarray(expected, np.float64)
        if not np.isfinite(error).all():
            return math.inf
        errors.append((error - error.mean(axis=1, keepdims=True)).ravel())
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def compare_top1(actual: Array, expected: Array, near_tie: float) -> dict[str, float]:
    """The share of rows with the same best candidate.

    A row with another one although the two best were nearer than `near_tie` is *ambiguous*: counted under that name,
    and left out of the agreement. `flips` is the share of all rows whose best candidate is another.
    """
    a, e = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    differs = a.argmax(axis=1) != e.argmax(axis=1)
    if not np.isfinite(a).all():
        differs[:] = True
    best = np.partition(e, -2, axis=1)[:, -2:]
    tied = differs & (best[:, 1] - best[:, 0] < near_tie) & np.isfinite(a).all(axis=1)
    decided = len(differs) - int(tied.sum())
    wrong = int((differs & ~tied).sum())
    return {
        "top1_agreement": 1.0 - wrong / decided if decided else 1.0,
        "ambiguous": float(tied.sum()),
        "decisions": float(len(differs)),
        "flips": float(differs.mean()),
        "near_tie": near_tie,
    }


def compare_order(actual: Array, expected: Array, near_tie: float) -> dict[str, float]:
    """Kendall's tau of each row: (pairs in the same order - pairs in the other) / pairs (Biometrika 30, 1938).

    `kendall` is the mean over rows, `kendall_worst` the smallest; `kendall_decided` is over the pairs of all rows that
    lie at least `near_tie` apart: what is nearer is nearly a tie.
    """
    a, e = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    left, right = np.triu_indices(e.shape[1], k=1)
    wanted = e[:, left] - e[:, right]
    same = np.sign(wanted) * np.sign(np.nan_to_num(a[:, left] - a[:, right]))
    pairs = np.count_nonzero(wanted, axis=1)
    taus = np.where(pairs, same.sum(axis=1) / np.maximum(pairs, 1), 1.0)
    decided = (wanted != 0) & (np.abs(wanted) >= near_tie)
    return {
        "kendall": float(taus.mean()),
        "kendall_worst": float(taus.min()),
        "kendall_decided": float(same[decided].mean()) if decided.any() else 1.0,
        "near_tie": near_tie,
    }


def ranking_checks(
    judge: Judge, case: str, actual: Array, expected: Array, deviation: float | None = None
) -> list[Check]:
    """The best match, and the order of all candidates.

    Args:
        judge: with the gates
        case: what was ranked
        actual, expected: cosines [rows, candidates]
        deviation: of their errors, see `error_deviation`; None: of this matrix
    """
    deviation = error_deviation((actual, expected)) if deviation is None else deviation
    measured: tuple[tuple[str, Callable[[Array, Array, float], dict[str, float]]], ...] = (
        ("top-1", compare_top1),
        ("ranking", compare_order),
    )
    shape = f"{actual.shape[0]} x {actual.shape[1]}"
    return [
        Check(
            stage,
            shape,
            case,
            compare_with(actual, expected, judge.near_tie(stage).margin(deviation)),
            judge.gate(stage),
        )
        for stage, compare_with in measured
    ]


def zero_shot_measures(
    actual: tuple[Floats, Floats], expected: tuple[Floats, Floats], wanted: NDArray[np.int64]
) -> dict[str, float]:
    """Accuracy of both on images with known labels.

    Args:
        actual, expected: embeddings of images [n, dim] and of labels [labels, dim]
        wanted: int [n], the right label of each image
    """
    share, reference = (zero_shot_accuracy(*pair, wanted).accuracy for pair in (actual, expected))
    shares = {"accuracy": share, "accuracy_reference": reference, "accuracy_drop": max(0.0, reference - share)}
    return shares | {"items": float(len(wanted))}


def recall_measures(actual: tuple[Floats, Floats], expected: tuple[Floats, Floats]) -> dict[str, dict[str, float]]:
    """Direction -> recall of both among the first k; row i of the images belongs to row i of the texts.

    Args:
        actual, expected: embeddings of images [n, dim] and of their texts [n, dim]
    """
    found: dict[str, dict[str, float]] = {"image to text": {}, "text to image": {}}
    for k in RECALL_AT:
        ours, theirs = (recall_at(k, *pair) for pair in (actual, expected))
        for measures, share, reference in zip(
            found.values(),
            (ours.image_to_text, ours.text_to_image),
            (theirs.image_to_text, theirs.text_to_image),
            strict=True,
        ):
            measures |= {f"recall_at_{k}": share, f"recall_at_{k}_reference": reference}
            measures["items"] = float(len(expected[0]))
            measures["recall_drop"] = max(measures.get("recall_drop", 0.0), reference - share)
    return found
