"""LongRoPE: rotary embedding with one list of frequency factors for short and one for long sequences.

Source: LongRoPE, arXiv 2402.13753; the rules of Phi-3-Vision's own code (a whole call uses one list, and both cosine
and sine carry a constant magnitude factor).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nexus_edge.configs.rope import LongRopeParams
from nexus_edge.layers.rope import powers

__all__ = ["LongRope", "LongRopeParams", "inverse_frequencies"]


class LongRope(nn.Module):
    """Positions to cosines and sines. The two buffers hold inverse frequencies, float32 [head_dim / 2]."""

    short_inv_freq: Tensor
    long_inv_freq: Tensor

    def __init__(self, params: LongRopeParams) -> None:
        super().__init__()
        self.limit = params.original_max_position_embeddings
        self.magnitudes = params.magnitudes
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
        is_long = length > self.limit
        angles = position_ids.unsqueeze(-1).float() * torch.where(is_long, self.long_inv_freq, self.short_inv_freq)
        short, long = self.magnitudes
        # One number where both are the same: no choice in the graph, as in the published models.
        magnitude = short if short == long else torch.where(is_long, long, short)
        return angles.cos() * magnitude, angles.sin() * magnitude


def inverse_frequencies(params: LongRopeParams) -> dict[str, Tensor]:
    """The buffers of `LongRope`, by name, on the CPU (an exporter on the meta device needs their values too)."""
    return {
        "short_inv_freq": _inverse_frequencies(params.short_factor, params.theta),
        "long_inv_freq": _inverse_frequencies(params.long_factor, params.theta),
    }


def _inverse_frequencies(factors: Sequence[float], theta: float) -> Tensor:
    scaled: Tensor = torch.tensor(factors, dtype=torch.float32, device="cpu") * powers(theta, len(factors))
    return 1.0 / scaled
