"""`QuantizedTensor`: codes, scales and zero points of one weight matrix, in the layout of the kernels that read it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nexus_edge.quant.packing import unpack


@dataclass(frozen=True)
class QuantizedTensor:
    """A weight [rows, columns] in fewer bits.

    Attributes:
        qweight: grouped: uint8 [rows, groups, group_size * bits / 8], the last group padded where `group_size` does not
            divide `columns` (the `B` of MatMulNBits); per channel: int8 [rows, columns]
        scales: float32 or float16, [rows, groups] or, per channel and on two levels, [rows]; may be negative when there
            is no zero point
        zero_points: uint8 [rows, ceil(groups * bits / 8)], packed like codes, or None for the middle code 2^(bits-1)
        bits: 4 or 8
        group_size: neighbours along `columns` that share a scale, 0 for the whole row
        shape: (rows, columns)
        multipliers: on two levels: uint8 [rows, ceil(groups * bits / 8)], packed like codes; else None
    """

    qweight: Tensor
    scales: Tensor
    zero_points: Tensor | None
    bits: int
    group_size: int
    shape: tuple[int, int]
    multipliers: Tensor | None = None

    def dequantize(self) -> Tensor:
        """The weight that the codes stand for, float32 [rows, columns]."""
        if self.group_size == 0:
            return self.qweight.float() * self.scales.float().unsqueeze(-1)
        if self.multipliers is not None and self.zero_points is not None:
            codes = widen_codes(self.qweight, self.multipliers, self.zero_points, self.shape[1])
            return codes.float() * self.scales.float().unsqueeze(-1)
        return dequantize_groups(self.qweight, self.scales, self.zero_points, self.bits, self.shape[1])

    def steps(self) -> Tensor:
        """The distance between two neighbouring codes at each weight, float32 [rows, columns] or [rows, 1]."""
        scales = self.scales.float().abs()
        if self.group_size == 0:
            return scales.unsqueeze(-1)
        if self.multipliers is not None:
            scales = scales.unsqueeze(-1) * unpack(self.multipliers, self.bits)[:, : self.qweight.shape[1]]
        return scales.repeat_interleave(self.group_size, dim=1)[:, : self.shape[1]]

    def buffers(self) -> dict[str, Tensor]:
        """The tensors by the suffix under which they are stored."""
        stored = {"qweight": self.qweight, "scales": self.scales}
        optional = {"zero_points": self.zero_points, "multipliers": self.multipliers}
        return stored | {name: tensor for name, tensor in optional.items() if tensor is not None}


def dequantize_groups(qweight: Tensor, scales: Tensor, zero_points: Tensor | None, bits: int, columns: int) -> Tensor:
    """(code - zero point) * scale.

    Args:
        qweight: uint8 [..., groups, group_size * bits / 8]
        scales: [..., groups]
        zero_points: uint8 [..., ceil(groups * bits / 8)], or None for 2^(bits-1)
        columns: how many of the groups * group_size columns are real

    Returns:
        float32 [..., columns]
    """
    codes = unpack(qweight, bits).to(torch.float32)
    if zero_points is None:
        codes -= 1 << (bits - 1)
    else:
        codes -= unpack(zero_points, bits)[..., : scales.shape[-1]].unsqueeze(-1)
    return codes.mul_(scales.float().unsqueeze(-1)).flatten(-2)[..., :columns]


def widen_codes(qweight: Tensor, multipliers: Tensor, zero_points: Tensor, columns: int) -> Tensor:
    """(code - zero point) * multiplier, in whole numbers.

    Args:
        qweight: uint8 [rows, groups, group_size / 2], two codes of 4 bits in a byte
        multipliers, zero_points: uint8 [rows, ceil(groups / 2)], packed likewise
        columns: how many of the groups * group_size columns are real

    Returns:
        int8 [rows, columns]
    """
    groups = qweight.shape[1]
    codes = unpack(qweight, 4).to(torch.int8)
    zeros, factors = (unpack(packed, 4)[:, :groups, None].to(torch.int8) for packed in (zero_points, multipliers))
    return codes.sub_(zeros).mul_(factors).flatten(1)[:, :columns].contiguous()
