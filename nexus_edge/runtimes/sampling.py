"""From logits to the next token: greedy, or nucleus sampling (Holtzman et al., arXiv 1904.09751, section 3.1)."""

import math

import numpy as np

from nexus_edge.errors import BundleError, InputError
from nexus_edge.runtimes.engine import Floats


class Sampler:
    """Picks tokens; the same seed and the same logits give the same tokens."""

    def __init__(self, temperature: float, top_p: float, seed: int | None) -> None:
        """`temperature` 0 is greedy; `top_p`: share of probability that stays in the draw. Raises InputError."""
        if not (math.isfinite(temperature) and temperature >= 0):
            raise InputError(f"temperature is {temperature}; it must be 0 (greedy) or more")
        if not 0 < top_p <= 1:
            raise InputError(f"top_p is {top_p}; it must be above 0 and at most 1")
        if seed is not None and seed < 0:
            raise InputError(f"seed is {seed}; it must be 0 or more")
        self._temperature = temperature
        self._top_p = top_p
        self._random = np.random.default_rng(seed)

    def pick(self, logits: Floats) -> int:
        """Id of the next token from logits [vocab]; raises BundleError if they hold NaN."""
        best = int(logits.argmax())  # of the first NaN if there is one
        if math.isnan(logits[best]):
            raise BundleError("the decoder computes NaN; its weights are damaged: export the bundle again")
        if self._temperature == 0:
            return best
        # The highest logit is taken off first, so that exp cannot overflow; at worst the others become 0.
        with np.errstate(over="ignore"):
            weights = np.exp((logits.astype(np.float64) - float(logits[best])) / self._temperature)
        order = np.argsort(-weights, kind="stable")
        cumulative = np.cumsum(weights[order])
        kept = int(np.searchsorted(cumulative, self._top_p * cumulative[-1])) + 1
        draw = self._random.random() * cumulative[kept - 1]
        place = int(np.searchsorted(cumulative[:kept], draw, side="right"))
        return int(order[min(place, kept - 1)])  # rounding may put the draw on the upper end
