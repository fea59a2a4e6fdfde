"""The effect of embeddings' errors on a probability is that of all directions, not of the one that was drawn."""

import numpy as np
import pytest

from nexus_edge.parity.dual_encoder.directions import in_many_directions

DIM, SCALE, SIZE = 128, 20.0, 0.01
DRAWN = {"relative_l2": SIZE, "max_abs": 1.0, "mean_abs": 1.0}
NOTHING = {"relative_l2": 0.0, "max_abs": 0.0, "mean_abs": 0.0}


def unit(*places: int) -> np.ndarray:
    rows = np.zeros((1, DIM))
    rows[0, list(places)] = 1 / np.sqrt(len(places))
    return rows


def test_one_image_between_two_labels() -> None:
    """Errors of image and labels move the difference of two logits by SCALE * SIZE * sqrt(2 + 2) / sqrt(DIM),
    and at even odds a probability by a quarter of that."""
    image, labels = unit(0, 1), np.concatenate([unit(0), unit(1)])
    moved = {"image embeddings": DRAWN, "text embeddings": DRAWN, "probabilities": NOTHING}
    found = in_many_directions(moved, image, labels, SCALE)["probabilities"]
    # The image's error meets labels at right angles, each label's the image: variances of 2, 1 and 1.
    expected = SCALE * SIZE * np.sqrt(4 / DIM) / 4
    assert found["max_abs"] == pytest.approx(expected, rel=4 / np.sqrt(2 * 64))  # 64 directions, four deviations


def test_what_was_drawn_larger_stays() -> None:
    moved = {"image embeddings": DRAWN, "text embeddings": DRAWN, "probabilities": {**NOTHING, "max_abs": 0.5}}
    found = in_many_directions(moved, unit(0), np.concatenate([unit(0), unit(1)]), SCALE)
    assert found["probabilities"]["max_abs"] == 0.5
    assert found["image embeddings"] == DRAWN
