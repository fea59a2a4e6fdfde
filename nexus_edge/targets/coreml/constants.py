"""Quantized weights as Core ML's compressed constants: the codes, scales and zero points that are stored, no others.

Codes are never dequantized here. What changes is their spelling: a group with the middle code as its zero point becomes
signed codes without an offset, and scales become float16, the type that the product is computed in.
"""

from typing import Any

import numpy as np
import torch
from coremltools.converters.mil import mil
from coremltools.converters.mil._deployment_compatibility import AvailableTarget
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.block import is_current_opset_version_compatible_with
from coremltools.converters.mil.mil.var import Var

from nexus_edge.checkpoints.base import Array
from nexus_edge.errors import CheckpointError, RecipeError
from nexus_edge.quant.packing import unpack
from nexus_edge.targets.coreml.layer_outputs import weight_name

mb: Any = mil.Builder

_TYPES = {(4, True): types.np_int4_dtype, (8, True): np.int8, (4, False): types.np_uint4_dtype, (8, False): np.uint8}
"""(bits, signed) -> numpy's stand-in for the type of the codes"""


def rows_weight(codes: Array, scales: Array, where: str) -> Var:
    """A weight with one scale per row.

    Args:
        codes: int8 [rows, columns]
        scales: [rows]
        where: the layer, for errors

    Returns:
        float16 [rows, columns]
    """
    scale = _half(scales, where)
    if has_blocks():
        return mb.constexpr_blockwise_shift_scale(data=codes, scale=scale.reshape(-1, 1), name=weight_name(where))
    return mb.constexpr_affine_dequantize(
        quantized_data=codes, scale=scale, zero_point=np.int8(0), axis=np.int32(0), name=weight_name(where)
    )


def grouped_weight(codes: Array, scales: Array, zero_points: Array | None, bits: int, where: str) -> Var:
    """A weight whose rows are in groups.

    Args:
        codes: uint8 [rows, groups, group_size * bits / 8]
        scales: [rows, groups]
        zero_points: uint8 [rows, ceil(groups * bits / 8)], or None for the middle code
        where: the layer, for errors

    Returns:
        float16 [rows, groups * group_size]

    Raises:
        RecipeError: the deployment target has no constant in blocks
    """
    if not has_blocks():
        raise RecipeError(
            f"{where}: weights of {bits} bits in groups need iOS 18; choose a scheme with one scale per output channel"
        )
    rows, groups, _ = codes.shape
    data = _unpack(codes, bits).reshape(rows, -1)
    scale = _half(scales, where)
    # A number of groups that does not divide the columns would leave no sign but a larger file.
    assert data.shape[1] % groups == 0, f"{where}: {data.shape[1]} columns in {groups} groups"
    if zero_points is None:
        return mb.constexpr_blockwise_shift_scale(data=_signed(data, bits), scale=scale, name=weight_name(where))
    offset = _unpack(zero_points, bits)[:, :groups].astype(_TYPES[bits, False])
    data = data.astype(_TYPES[bits, False])
    return mb.constexpr_blockwise_shift_scale(data=data, scale=scale, offset=offset, name=weight_name(where))


def two_level_weight(codes: Array, multipliers: Array, zero_points: Array, scales: Array, where: str) -> Var:
    """A weight of 4 bits on two levels: the scale of a group is its multiplier times the scale of its row.

    Args:
        codes: uint8 [rows, groups, group_size / 2]
        multipliers, zero_points: uint8 [rows, ceil(groups / 2)]
        scales: [rows]
        where: the layer, for errors

    Returns:
        float16 [rows, groups * group_size]
    """
    groups = codes.shape[1]
    wide = _unpack(multipliers, 4)[:, :groups].astype(np.float32) * scales.astype(np.float32)[:, None]
    return grouped_weight(codes, wide, zero_points, 4, where)


def table_of_groups(codes: Array, scales: Array, zero_points: Array | None, bits: int, where: str) -> Var:
    """The table of an embedding with a row per group, float16 [rows * groups, group_size].

    This is how a table of 8 bits in groups reaches a target without constants in blocks: a row per scale is all it has.
    """
    if bits != 8:
        raise RecipeError(f"{where}: embeddings of {bits} bits need iOS 18; choose a scheme of 8 bits")
    group_size = codes.shape[2]
    zeros = np.int8(0) if zero_points is None else zero_points[:, : scales.shape[1]].reshape(-1)
    data = _signed(codes, bits) if zero_points is None else codes
    return mb.constexpr_affine_dequantize(
        quantized_data=data.reshape(-1, group_size),
        scale=_half(scales, where).reshape(-1),
        zero_point=zeros,
        axis=np.int32(0),
        name=weight_name(where),
    )


def has_blocks() -> bool:
    """The program under construction may hold constants in blocks (iOS 18, macOS 15)."""
    return is_current_opset_version_compatible_with(AvailableTarget.iOS18)


def _unpack(packed: Array, bits: int) -> Array:
    return unpack(torch.tensor(packed), bits).numpy()


def _signed(codes: Array, bits: int) -> Array:
    """Codes around the middle one, 2^(bits-1), as signed numbers around 0."""
    middle = np.uint8(1 << (bits - 1))
    return (codes - middle).view(np.int8).astype(_TYPES[bits, True])  # the wrap around of uint8 is the sign of int8


def _half(scales: Array, where: str) -> Array:
    with np.errstate(over="ignore"):
        half = scales.astype(np.float16)
    if not np.isfinite(half).all():
        raise CheckpointError(f"{where}: a scale is too large for float16, in which Core ML computes")
    return half
