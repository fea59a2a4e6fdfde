"""Rotary position embedding with one set of frequencies (RoFormer, arXiv 2104.09864), as in Llama and Mistral."""

import torch
from torch import Tensor, nn


class Rope(nn.Module):
    """Positions to cosines and sines; the buffer holds inverse frequencies, float32 [head_dim / 2]."""

    inv_freq: Tensor

    def __init__(self, theta: float, head_dim: int) -> None:
        super().__init__()
        frequencies = inverse_frequencies(theta, head_dim).to(torch.get_default_device())
        self.register_buffer("inv_freq", frequencies, persistent=False)

    def forward(self, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """int64 [batch, tokens] -> cosine, sine, float32 [batch, tokens, head_dim / 2]"""
        angles = position_ids.unsqueeze(-1).float() * self.inv_freq
        return angles.cos(), angles.sin()


def inverse_frequencies(theta: float, head_dim: int) -> Tensor:
    """The buffer of `Rope`, on the CPU."""
    return 1.0 / powers(theta, head_dim // 2)


def powers(theta: float, half: int) -> Tensor:
    """theta^(i / half) for i below `half`, float32 on the CPU: an exporter on the meta device needs the values too."""
    exponents: Tensor = torch.arange(half, dtype=torch.float32, device="cpu") / half
    return theta**exponents
