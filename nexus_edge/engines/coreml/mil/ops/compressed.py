"""Constants that are stored compressed; decompressed where they are used."""

import math

import numpy as np

from nexus_edge.engines.coreml.mil.dtypes import DTYPES, unpack
from nexus_edge.engines.coreml.mil.registry import Array, operator


@operator("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(data: Array, scale: Array, offset: Array | None = None) -> Array:
    """scale * (data - offset); along each axis a scale serves data.shape / scale.shape neighbours."""
    if offset is not None and offset.shape != scale.shape:
        raise ValueError(f"offsets of {list(offset.shape)} beside scales of {list(scale.shape)}")
    blocks = _blocks(data.shape, scale.shape)
    sizes = [size for pair in zip(scale.shape, blocks, strict=True) for size in pair]
    ones = [size for count in scale.shape for size in (count, 1)]
    shifted = data.astype(np.float32).reshape(sizes)
    if offset is not None:
        shifted = shifted - offset.astype(np.float32).reshape(ones)
    return (shifted * scale.reshape(ones)).reshape(data.shape)


@operator("constexpr_affine_dequantize")
def constexpr_affine_dequantize(quantized_data: Array, zero_point: Array, scale: Array, axis: Array) -> Array:
    """scale * (data - zero point), each a scalar or a vector along `axis`."""
    sizes = [1] * quantized_data.ndim
    sizes[int(axis)] = -1
    scales, zeros = (item.reshape(sizes) if item.ndim else item for item in (scale, zero_point.astype(np.float32)))
    return scales * (quantized_data.astype(np.float32) - zeros)


@operator("constexpr_cast")
def constexpr_cast(source_val: Array, output_dtype: str) -> Array:
    """fp16 to fp32, the only pair there is."""
    if output_dtype != "fp32":
        raise ValueError(f"a cast of a constant to {output_dtype!r}")
    return source_val.astype(np.float32)


@operator("constexpr_lut_to_dense")
def constexpr_lut_to_dense(
    indices: Array, lut: Array, shape: Array | None = None, vector_axis: Array | None = None
) -> Array:
    """Values looked up. iOS 16: lut [values] and packed indices for `shape`; iOS 18: lut [*groups, values, vector].

    In the newer form each axis of the indices is divided into groups, and each group has its own table.
    """
    if shape is not None:
        bits = (lut.size - 1).bit_length()
        packing = next((dtype for dtype in DTYPES if dtype.name == f"uint{bits}"), None)
        if packing is None:
            raise ValueError(f"a table of {lut.size} values")
        sizes = shape.tolist()
        return lut[unpack(indices, packing, math.prod(sizes)) if bits < 8 else indices].reshape(sizes)
    blocks = _blocks(indices.shape, lut.shape[:-2])
    groups = [np.arange(size) // block for size, block in zip(indices.shape, blocks, strict=True)]
    found = lut[*np.ix_(*groups), indices]  # [*indices.shape, vector]
    if vector_axis is None:
        return found.reshape(indices.shape)
    along = int(vector_axis) % indices.ndim
    sizes = list(indices.shape)
    sizes[along] *= lut.shape[-1]
    return np.moveaxis(found, -1, along + 1).reshape(sizes)


def _blocks(data: tuple[int, ...], groups: tuple[int, ...]) -> list[int]:
    if len(data) != len(groups) or any(count == 0 or size % count for size, count in zip(data, groups, strict=False)):
        raise ValueError(f"{list(groups)} groups do not divide {list(data)}")
    return [size // count for size, count in zip(data, groups, strict=True)]
