"""How sure a percentage is that was counted on a few examples."""

import math

Z = 1.959964  # the standard normal's 97.5 % quantile: intervals of 95 %


def wilson(share: float, count: float) -> tuple[float, float]:
    """The 95 % interval of a share of `count` independent examples, both ends in 0..1.

    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22 (1927). Unlike the
    normal approximation it is right near 0 and 1, where good models are.
    """
    middle = share + Z * Z / (2 * count)
    reach = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    scale = 1 + Z * Z / count
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)
