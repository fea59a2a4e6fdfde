"""Metrics against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_edge.parity import metrics

NEVER = metrics.NearTie()


def test_compare_by_hand() -> None:
    expected = np.array([[3.0, 4.0], [1.0, 0.0]])
    actual = np.array([[3.0, 4.5], [0.0, 1.0]])
    measures = metrics.compare(actual, expected)
    assert measures["max_abs"] == 1.0
    assert measures["mean_abs"] == pytest.approx((0.5 + 1 + 1) / 4)
    assert measures["relative_l2"] == pytest.approx((0.25 + 1 + 1) ** 0.5 / 26**0.5)
    assert measures["cosine"] == pytest.approx(0.0), "the second row is turned by 90 degrees"


def test_equal_tensors_have_no_error_even_when_they_are_zero() -> None:
    exact = {"max_abs": 0.0, "mean_abs": 0.0, "relative_l2": 0.0, "cosine": 1.0}
    assert metrics.compare(np.zeros((2, 3)), np.zeros((2, 3))) == exact
    assert metrics.compare(np.zeros((0, 3)), np.zeros((0, 3))) == exact


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_never_passes(broken: float) -> None:
    actual = np.array([[1.0, broken]])
    measures = metrics.compare_logits(actual, np.array([[1.0, 2.0]]), near_tie=NEVER)
    for name, worst in {
        "relative_l2": np.inf,
        "max_abs": np.inf,
        "kl": np.inf,
        "cosine": -1.0,
        "top1_agreement": 0.0,
    }.items():
        assert measures[name] == worst


def test_nan_is_within_no_limit() -> None:
    assert not metrics.METRICS["kl"].holds(float("nan"), 1.0)
    assert not metrics.METRICS["cosine"].holds(float("nan"), -1.0)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\[2\], expected \[3\]"):
        metrics.compare(np.zeros(2), np.zeros(3))


def test_kl_of_two_coins() -> None:
    """KL((0.5, 0.5) || (0.9, 0.1)) = 0.5 ln(0.5 / 0.9) + 0.5 ln(0.5 / 0.1)."""
    measures = metrics.compare_logits(np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]]), near_tie=NEVER)
    assert measures["kl"] == pytest.approx(0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1))


@given(st.floats(-50, 50), st.integers(0, 2**32 - 1))
def test_kl_ignores_a_shift_of_all_logits(shift: float, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(3, 7))
    # exp() of values up to 50 + 4 sigma loses about 13 of 53 bits in the shift: 1e-12 of a nat
    assert metrics.compare_logits(logits + shift, logits, near_tie=NEVER)["kl"] < 1e-12


def test_top1_leaves_near_ties_out() -> None:
    expected = np.array([[0.0, 1.0, 1.001], [0.0, 5.0, 1.0], [0.0, 1.0, 9.0]])
    actual = np.array([[0.0, 1.001, 1.0], [0.0, 1.0, 5.0], [0.0, 1.0, 9.0]])
    errors = metrics.scatter(actual, expected)
    measures = metrics.compare_logits(actual, expected, near_tie=metrics.NearTie(0.01 / errors / 2**0.5))
    assert measures["near_tie"] == pytest.approx(0.01)
    assert measures["ambiguous"] == 1, "the first row is a near tie"
    assert measures["top1_agreement"] == 0.5, "of the two decided rows one differs"


def test_errors_in_deviations_of_their_row() -> None:
    """Row by row (2, 1) / (0.5, 0.5): what is the same for all logits of a row counts for nothing."""
    expected = np.array([[0.0, 1.0], [0.0, 1.0]])
    actual = expected + np.array([[7.0, 11.0], [1.0, -1.0]])
    assert metrics.scatter(actual, expected) == pytest.approx(((4.0**2 + 2.0**2) / 2) ** 0.5)
    assert metrics.scatter(np.full_like(expected, np.nan), expected) == np.inf
    assert metrics.scatter(actual, np.ones_like(expected)) == 0.0, "rows without any order"


def test_a_tie_is_four_deviations_of_two_errors() -> None:
    rule = metrics.NearTie(times=4.0)
    assert rule.margin(0.01) == pytest.approx(0.04 * 2**0.5)
    assert rule.margin(np.inf) == 0.0, "what is broken ties with nothing"


def test_margin_is_relative_to_the_spread() -> None:
    logits = np.array([0.0, 1.0, 2.0, 4.0])
    assert metrics.top2_margin(logits) == pytest.approx(2.0 / logits.std())
    assert metrics.top2_margin(1000 * logits) == pytest.approx(metrics.top2_margin(logits))
    assert metrics.top2_margin(np.ones(4)) == 0.0


@pytest.mark.parametrize(
    ("actual", "expected", "margins", "result"),
    [
        ([1, 2, 3], [1, 2, 3], [9, 9, 9], (3, 3, None, False)),
        ([1, 7, 3], [1, 2, 3], [9, 9, 9], (1, 3, 1, False)),
        ([1, 7, 3], [1, 2, 3], [9, 0.01, 9], (1, 1, 1, True)),
        ([7], [1, 2], [0.01, 9], (0, 0, 0, True)),
        ([1], [1, 2], [9, 9], (1, 2, 1, False)),
        ([1, 2], [1], [9], (1, 2, 1, False)),
    ],
    ids=["equal", "differs", "near tie", "near tie at once", "stopped early", "went on"],
)
def test_greedy_up_to_the_first_difference(
    actual: list[int], expected: list[int], margins: list[float], result: tuple[int, int, int | None, bool]
) -> None:
    assert metrics.compare_greedy(actual, expected, margins, near_tie=0.1) == metrics.GreedyComparison(*result, 0.1)


def test_perplexity_of_a_fair_die_is_six() -> None:
    assert metrics.perplexity(np.zeros((4, 6)), [0, 1, 2, 3]) == pytest.approx(6.0)
    with pytest.raises(ValueError, match="4 rows of logits for 1 targets"):
        metrics.perplexity(np.zeros((4, 6)), [0])
