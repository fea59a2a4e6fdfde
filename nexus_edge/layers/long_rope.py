"""LongRoPE: rotary embedding with one list of frequency factors for short and one for long sequences.

Source: LongRoPE, arXiv 2402.13753; the rules of Phi-3-Vision's own code (a whole call uses one list, and both cosine
and sine carry a constant magnitude factor).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LongRopeParams:
    """The numbers of a LongRoPE: `kind` is the checkpoint's name for the magnitude rule, "su" or "yarn"."""

    theta: float
    short_factor: tuple[float, ...]
    long_factor: tuple[float, ...]
    original_max_position_embeddings: int
    max_position_embeddings: int
    kind: str = "su"

    @property
    def magnitude(self) -> float:
        """What cosine and sine are multiplied with, for short sequences as well."""
        scale = self.max_position_embeddings / self.original_max_position_embeddings
        if scale <= 1.0:
            return 1.0
        if self.kind == "yarn":
            return 0.1 * math.log(scale) + 1.0
        return math.sqrt(1.0 + math.log(scale) / math.log(self.original_max_position_embeddings))


class LongRope(nn.Module):
    """Positions to cosines and sines. The two buffers hold inverse frequencies, float32 [head_dim / 2]."""

    short_inv_freq: Tensor
    long_inv_freq: Tensor

    def __init__(self, params: LongRopeParams) -> None:
        super().__init__()
        self.limit = params.original_max_position_embeddings
        self.magnitude = params.magnitude
        for name, values in inverse_frequencies(params).items():
            self.register_buffer(name, values.to(torch.get_default_device()), persistent=False)

    def forward(self, position_ids: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            position_ids: int64 [batch, tokens]
            length: int64 scalar, tokens of the longest sequence; it decides for the whole call which list is used

        Returns:
            cosine, sine, float32 [batch, tokens, head_dim / 2]
        """
        inv_freq = torch.where(length > self.limit, self.long_inv_freq, self.short_inv_freq)
        angles = position_ids.unsqueeze(-1).float() * inv_freq
        return angles.cos() * self.magnitude, angles.sin() * self.magnitude


def inverse_frequencies(params: LongRopeParams) -> dict[str, Tensor]:
    """The buffers of `LongRope`, by name, on the CPU (an exporter on the meta device needs their values too)."""
    return {
        "short_inv_freq": _inverse_frequencies(params.short_factor, params.theta),
        "long_inv_freq": _inverse_frequencies(params.long_factor, params.theta),
    }


def _inverse_frequencies(factors: Sequence[float], theta: float) -> Tensor:
    half = len(factors)
    exponents = torch.arange(half, dtype=torch.float32, device="cpu") / half
    return 1.0 / (torch.tensor(factors, dtype=torch.float32, device="cpu") * theta**exponents)
