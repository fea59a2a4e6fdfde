"""From logits to the next token: greedy, or a draw among those that the options leave.

The options work in this order, which is that of transformers' logits processors:

    repetition_penalty   Keskar et al., arXiv 1909.05858, section 4.1, as transformers reads it: a logit above 0 of a
                         token that was there before is divided by it, one below 0 multiplied
    temperature          divides the logits; 0 takes the highest, and the rest of the list has no part in it
    top_k                Fan et al., arXiv 1805.04833, section 5.3: the k likeliest, and all that tie with the last
    top_p                Holtzman et al., arXiv 1904.09751, section 3.1: of those the fewest that have this share of
                         their probability
    min_p                Nguyen et al., arXiv 2407.01082: of those all that have this share of the likeliest one's
"""

import math

import numpy as np
from numpy.typing import NDArray

from nexus_edge.errors import BundleError, InputError
from nexus_edge.interfaces.engine import Floats, Ids

Doubles = NDArray[np.float64]


class Sampler:
    """Picks tokens; the same seed and the same logits give the same tokens."""

    def __init__(
        self,
        temperature: float,
        top_p: float,
        seed: int | None,
        *,
        top_k: int = 0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
    ) -> None:
        """See `GenerationOptions` for the options; raises InputError for one that is out of range."""
        if not (math.isfinite(temperature) and temperature >= 0):
            raise InputError(f"temperature is {temperature}; it must be 0 (greedy) or more")
        if not 0 < top_p <= 1:
            raise InputError(f"top_p is {top_p}; it must be above 0 and at most 1")
        if seed is not None and seed < 0:
            raise InputError(f"seed is {seed}; it must be 0 or more")
        if top_k < 0:
            raise InputError(f"top_k is {top_k}; it must be 0 (all tokens) or more")
        if not 0 <= min_p <= 1:
            raise InputError(f"min_p is {min_p}; it must be from 0 to 1")
        if not (math.isfinite(repetition_penalty) and repetition_penalty > 0):
            raise InputError(f"repetition_penalty is {repetition_penalty}; it must be above 0 (1 penalizes nothing)")
        self._temperature, self._top_k, self._top_p, self._min_p = temperature, top_k, top_p, min_p
        self._penalty = repetition_penalty
        self._random = np.random.default_rng(seed)
        self._seen: set[int] = set()

    def see(self, ids: Ids) -> None:
        """These text tokens were there before."""
        self._seen.update(ids.tolist())

    def pick(self, logits: Floats) -> int:
        """Id of the next token from logits [vocab]; raises BundleError if they hold NaN."""
        best = int(logits.argmax())  # of the first NaN if there is one
        if math.isnan(logits[best]):
            raise BundleError("the decoder produced NaN; its weights are damaged: export the bundle again")
        scores = logits.astype(np.float64)
        if self._penalty != 1:
            self._penalize(scores)
            best = int(scores.argmax())
        picked = best if self._temperature == 0 else self._draw(scores, float(scores[best]))
        self._seen.add(picked)
        return picked

    def _penalize(self, scores: Doubles) -> None:
        seen = np.array([id_ for id_ in self._seen if id_ < len(scores)], np.int64)
        found = scores[seen]
        scores[seen] = np.where(found < 0, found * self._penalty, found / self._penalty)

    def _draw(self, scores: Doubles, highest: float) -> int:
        # The highest logit is taken off first, so that exp cannot overflow; at worst the others become 0.
        with np.errstate(over="ignore"):
            weights = np.exp((scores - highest) / self._temperature)
        order = np.argsort(-weights, kind="stable")
        if 0 < self._top_k < len(order):
            order = order[weights[order] >= weights[order[self._top_k - 1]]]
        cumulative = np.cumsum(weights[order])
        kept = int(np.searchsorted(cumulative, self._top_p * cumulative[-1])) + 1
        if self._min_p > 0:  # the likeliest one's weight is 1
            kept = min(kept, int((weights[order] >= self._min_p).sum()))
        draw = self._random.random() * cumulative[kept - 1]
        place = int(np.searchsorted(cumulative[:kept], draw, side="right"))
        return int(order[min(place, kept - 1)])  # rounding may put the draw on the upper end
