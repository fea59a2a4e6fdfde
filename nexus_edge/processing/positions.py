"""Position schemes: which positions the tokens of a sequence have, and which keys of a cache fit together."""

from dataclasses import dataclass

import numpy as np

from nexus_edge.interfaces.engine import Ids
from nexus_edge.interfaces.host import PromptTokens


@dataclass(frozen=True)
class SequentialPositions:
    """Tokens are numbered from 0, whatever they stand for; see `PositionScheme`."""

    def of_prompt(self, prompt: PromptTokens) -> Ids:
        """See `PositionScheme.of_prompt`."""
        return np.arange(len(prompt.ids), dtype=np.int64)[None]

    def between(self, prompt: Ids, start: int, stop: int) -> Ids:
        """See `PositionScheme.between`."""
        return np.arange(start, stop, dtype=np.int64)[None]

    def regime(self, length: int) -> int:
        """See `PositionScheme.regime`: all keys fit together."""
        return 0


@dataclass(frozen=True)
class LongRopePositions(SequentialPositions):
    """Sequential positions, rotated by one of two sets of factors, which a whole sequence shares.

    Up to `limit` tokens a sequence takes LongRoPE's short factors, beyond its long ones, also for its first tokens
    (LongRoPE, arXiv 2402.13753; models of the Phi-3 family).
    """

    limit: int

    def regime(self, length: int) -> int:
        """See `PositionScheme.regime`: 0 for the short factors, 1 for the long ones."""
        return int(length > self.limit)
