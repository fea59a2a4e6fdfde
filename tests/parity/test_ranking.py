"""What an error of embeddings does to best matches, order and hits, on numbers that can be checked by hand."""

import numpy as np
import pytest

from nexus_edge.parity.dual_encoder import ranking
from nexus_edge.parity.metrics import NearTie
from nexus_edge.parity.stages import Judge
from nexus_edge.parity.tolerances import Gate


def test_one_flip_of_three() -> None:
    expected = np.array([[0.9, 0.1, 0.0], [0.1, 0.8, 0.0], [0.50, 0.49, 0.0]])
    actual = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.0], [0.49, 0.50, 0.0]])
    found = ranking.compare_top1(actual, expected, near_tie=0.1)
    counted = {"top1_agreement": 0.5, "ambiguous": 1.0, "decisions": 3.0, "flips": pytest.approx(2 / 3)}
    assert found == counted | {"near_tie": 0.1}
    assert ranking.compare_top1(actual, expected, near_tie=0.0)["top1_agreement"] == pytest.approx(1 / 3)


def test_errors_of_cosines_without_what_a_row_shares() -> None:
    expected = np.zeros((2, 2))
    pairs = (expected + np.array([[1.0], [5.0]]), expected), (expected + np.array([0.3, -0.3]), expected)
    assert ranking.error_deviation(*pairs) == pytest.approx(0.3 / 2**0.5)
    assert ranking.error_deviation((np.full((2, 2), np.nan), expected)) == np.inf


def test_ties_follow_from_the_errors_that_were_found() -> None:
    """The same flip is a tie where all cosines are off by as much, and none where only its own are."""
    random = np.random.default_rng(0)
    expected = np.tile(np.linspace(0.0, 1.0, 12), (12, 1))
    flipped = expected.copy()
    flipped[0, -2:] = expected[0, [-1, -2]]
    noisy = flipped + random.normal(0, 0.1, flipped.shape)
    judge = Judge(lambda stage: Gate("top1_agreement", 1.0, "") if stage == "top-1" else None, lambda stage: NearTie(4))
    assert ranking.ranking_checks(judge, "labels", flipped, expected)[0].status == "failed"
    assert ranking.ranking_checks(judge, "labels", noisy, expected)[0].status == "ambiguous"


def test_similarities_that_are_no_numbers_agree_with_nothing() -> None:
    expected = np.array([[0.9, 0.1], [0.2, 0.3]])
    actual = np.full_like(expected, np.nan)
    assert ranking.compare_top1(actual, expected, near_tie=9.0)["top1_agreement"] == 0.0
    assert ranking.compare_order(actual, expected, near_tie=0.0)["kendall"] == 0.0
    assert ranking.compare_embeddings(actual, expected)["cosine_mean"] == -1.0


@pytest.mark.parametrize(
    ("actual", "tau"),
    [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], -1.0), ([2, 1, 3, 4], 2 / 3), ([1, 1, 3, 4], 5 / 6)],
)
def test_kendalls_tau(actual: list[float], tau: float) -> None:
    """6 pairs; one that changed places counts -1, one that fell together counts 0."""
    expected = np.array([[1.0, 2.0, 3.0, 4.0]])
    found = ranking.compare_order(np.array([actual], float), expected, near_tie=0.0)
    assert found["kendall"] == found["kendall_worst"] == pytest.approx(tau)


def test_pairs_that_nearly_tie_are_set_aside() -> None:
    expected = np.array([[0.0, 0.001, 1.0, 2.0]])
    actual = np.array([[0.001, 0.0, 1.0, 2.0]])
    found = ranking.compare_order(actual, expected, near_tie=0.01)
    assert found["kendall"] == pytest.approx(4 / 6)
    assert found["kendall_decided"] == 1.0
    turned = ranking.compare_order(-expected, expected, near_tie=0.01)
    assert turned["kendall_decided"] == -1.0, "what is far apart counts"


def test_equal_candidates_have_no_order() -> None:
    """Two images that are the same are no disagreement."""
    rows = np.array([[0.3, 0.3, 0.5]])
    assert ranking.compare_order(rows, rows, near_tie=0.0)["kendall"] == 1.0


def test_accuracy_and_recall_of_both_models() -> None:
    images, labels = np.eye(4)[:3], np.eye(4)[:3]
    wrong = labels[[1, 0, 2]]
    measures = ranking.zero_shot_measures((images, wrong), (images, labels), np.arange(3))
    assert measures == {
        "accuracy": pytest.approx(1 / 3),
        "accuracy_reference": 1.0,
        "accuracy_drop": pytest.approx(2 / 3),
        "items": 3.0,
    }
    recalls = ranking.recall_measures((images, wrong), (images, labels))
    assert set(recalls) == {"image to text", "text to image"}
    for found in recalls.values():
        assert (found["recall_at_1"], found["recall_at_1_reference"]) == (pytest.approx(1 / 3), 1.0)
        assert found["recall_at_5"] == found["recall_at_5_reference"] == 1.0
        assert found["recall_drop"] == pytest.approx(2 / 3), "of the worst k"


def test_cosine_of_the_worst_and_of_all() -> None:
    expected = np.array([[1.0, 0.0], [0.0, 1.0]])
    actual = np.array([[1.0, 0.0], [0.6, 0.8]])
    found = ranking.compare_embeddings(actual, expected)
    assert (found["cosine"], found["cosine_mean"]) == (pytest.approx(0.8), pytest.approx(0.9))
