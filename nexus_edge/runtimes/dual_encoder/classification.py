"""How probable each label is for an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nexus_edge.interfaces.engine import Floats


@dataclass(frozen=True)
class Classification:
    """One image against all labels.

    Attributes:
        labels: in the order they were given in
        probabilities: float32 [labels], 1 together
        similarities: float32 [labels], cosines, -1..1
    """

    labels: tuple[str, ...]
    probabilities: Floats
    similarities: Floats

    @classmethod
    def of(cls, labels: Sequence[str], similarities: Floats, logit_scale: float) -> "Classification":
        """Softmax of `logit_scale * similarities` [labels]."""
        logits = logit_scale * similarities.astype(np.float64)
        weights = np.exp(logits - logits.max())
        return cls(tuple(labels), (weights / weights.sum()).astype(np.float32), similarities)

    @property
    def best(self) -> str:
        """The most probable label."""
        return self.labels[int(self.similarities.argmax())]

    def top(self, count: int | None = None) -> list[tuple[str, float]]:
        """The `count` most probable labels with their probabilities, or all, the best first."""
        order = np.argsort(-self.similarities, kind="stable")[:count]
        return [(self.labels[place], float(self.probabilities[place])) for place in order]
