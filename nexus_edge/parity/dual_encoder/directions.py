"""What errors of embeddings do to probabilities, in many directions: a draw of the model's rounding shows one.

The largest error of a probability is that of one image whose labels nearly tie: a single number, of which one draw may
be a tenth of the next. The size of an embedding's error is known from one draw, for it has a hundred numbers. So errors
of that size are given to the embeddings in random directions, which costs no run of a model.
"""

from collections.abc import Mapping

import numpy as np

from nexus_edge.parity.dual_encoder.ranking import softmax
from nexus_edge.parity.metrics import Floats, Measures, compare

DIRECTIONS = 64
SIZE = "relative_l2"
METRICS = (SIZE, "max_abs", "mean_abs")


def in_many_directions(
    moved: Mapping[str, Measures], images: Floats, labels: Floats, logit_scale: float
) -> dict[str, Measures]:
    """`moved` with the effect on probabilities that its errors of embeddings have on average, where that is larger.

    Args:
        moved: see `rounding.effect`; of image embeddings, text embeddings and probabilities
        images: [images, dim], without errors
        labels: [labels, dim], without errors
        logit_scale: the factor of cosines
    """
    sizes = [moved[stage][SIZE] for stage in ("image embeddings", "text embeddings")]
    random, expected = np.random.default_rng(0), softmax(logit_scale * images @ labels.T)
    found = []
    for _ in range(DIRECTIONS):
        rows, columns = (_turned(x, size, random) for x, size in zip((images, labels), sizes, strict=True))
        found.append(compare(softmax(logit_scale * rows @ columns.T), expected))
    average = {name: float(np.sqrt(np.mean([one[name] ** 2 for one in found]))) for name in METRICS}
    drawn = moved["probabilities"]
    return {**moved, "probabilities": {name: max(drawn[name], average[name]) for name in METRICS}}


def _turned(rows: Floats, size: float, random: np.random.Generator) -> Floats:
    """Each row off by `size` of its length in a direction of its own, and of length 1 again."""
    errors = random.standard_normal(rows.shape)
    errors *= size / np.linalg.norm(errors, axis=1, keepdims=True)
    moved = np.asarray(rows + errors, np.float64)
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True))
