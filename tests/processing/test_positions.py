"""Position schemes, and image features among embeddings."""

import numpy as np
import pytest

from nexus_edge.interfaces.host import Merge, PromptTokens
from nexus_edge.processing.calls import cut
from nexus_edge.processing.merging import merge_features
from nexus_edge.processing.positions import LongRopePositions, SequentialPositions

PROMPT = PromptTokens(np.array([5, 0, 0, 6]), np.array([False, True, True, False]))


def test_tokens_are_numbered_whatever_they_stand_for() -> None:
    scheme = SequentialPositions()
    positions = scheme.of_prompt(PROMPT)
    assert positions.tolist() == [[0, 1, 2, 3]]
    assert scheme.between(positions, 2, 6).tolist() == [[2, 3, 4, 5]], "text follows the prompt"
    assert {scheme.regime(length) for length in (0, 1, 10**6)} == {0}


def test_longrope_has_two_regimes() -> None:
    assert [LongRopePositions(64).regime(length) for length in (1, 64, 65, 10**6)] == [0, 0, 1, 1]


@pytest.mark.parametrize(("merge", "expected"), [("replace", [1, 10, 20, 1]), ("add", [1, 11, 21, 1])])
def test_features_go_where_images_are(merge: Merge, expected: list[int]) -> None:
    embeds, features = np.ones((4, 2), np.float32), np.float32([[10, 10], [20, 20]])
    assert merge_features(embeds, PROMPT.is_image, features, merge)[:, 0].tolist() == expected


def test_text_after_the_prompt_stays_as_it_is() -> None:
    embeds = np.ones((6, 1), np.float32)
    assert merge_features(embeds, PROMPT.is_image, np.zeros((2, 1)), "replace")[:, 0].tolist() == [1, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("items", "sizes", "calls"),
    [
        (17, (1, 4), [(0, 4), (4, 4), (8, 4), (12, 4), (16, 1)]),
        (3, (1, 4), [(0, 1), (1, 1), (2, 1)]),
        (3, (4,), [(0, 4)]),
    ],
)
def test_only_the_smallest_call_is_filled_up(items: int, sizes: tuple[int, ...], calls: list[tuple[int, int]]) -> None:
    assert list(cut(items, sizes)) == calls
