"""The number formats that a path computes in, beyond float32: what bounds its errors, on whatever CPU it runs.

Needs neither torch nor a runtime; rounding.py moves a PyTorch model's values by what these formats may round away.
"""

from dataclasses import dataclass
from typing import Literal

FLOAT32, FLOAT16, BFLOAT16 = 24, 11, 8
"""Bits of a significand, the hidden one included."""

Inputs = Literal["kept", "ties", "rows", "groups"]


@dataclass(frozen=True)
class Formats:
    """What a path rounds that its reference does not round in the same way.

    Attributes:
        significand: bits of values between operations
        inputs: of products with integer weights. "kept": as the reference has them. "ties": both round them to int8 by
            the same rule, so that only what lies between two codes may differ. "rows" and "groups": this side rounds
            them to int8 with one scale per token, or per token and `group` neighbours
        group: see `inputs`
        cache: cached keys and values are stored in 8 bits
    """

    significand: int = FLOAT32
    inputs: Inputs = "kept"
    group: int = 0
    cache: bool = False


EXACT = Formats()
"""Sums in another order, and nothing else."""


def on_another_device(formats: Formats) -> Formats:
    """What goldens are replayed with: nobody knows yet on which CPU, and they were recorded with inputs rounded."""
    return Formats(formats.significand, "rows", 0, formats.cache)
