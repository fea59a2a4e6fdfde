"""The element types of MIL: their numbers in the specification and in the weight file, and how numpy holds them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["float", "int", "bool", "string"]


@dataclass(frozen=True)
class DType:
    """One element type.

    Attributes:
        name: as MIL's own text form writes it, and as the argument of `cast`
        code: MILSpec.DataType in MIL.proto
        blob: BlobDataType of the weight file; None for a type that never stands there
        bits: of one element; below 8, elements are packed from the low bits up
        storage: numpy's type for an unpacked element
    """

    name: str
    kind: Kind
    code: int
    blob: int | None
    bits: int
    storage: np.dtype

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest integer."""
        signed = self.storage.kind == "i"
        return (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) if signed else (0, (1 << self.bits) - 1)


def _integer(name: str, code: int, blob: int | None, bits: int) -> DType:
    storage = f"{'uint' if name.startswith('u') else 'int'}{max(8, bits)}"
    return DType(name, "int", code, blob, bits, np.dtype("uint8" if bits < 8 and name.startswith("u") else storage))


DTYPES = (
    DType("bool", "bool", 1, None, 8, np.dtype(bool)),
    DType("string", "string", 2, None, 0, np.dtype(object)),
    DType("fp16", "float", 10, 1, 16, np.dtype("float16")),
    DType("fp32", "float", 11, 2, 32, np.dtype("float32")),
    _integer("int8", 21, 4, 8),
    _integer("int16", 22, 6, 16),
    _integer("int32", 23, 14, 32),
    _integer("int64", 24, None, 64),
    _integer("int4", 25, 8, 4),
    _integer("uint8", 31, 3, 8),
    _integer("uint16", 32, 7, 16),
    _integer("uint32", 33, 15, 32),
    _integer("uint4", 35, 11, 4),
    _integer("uint2", 36, 10, 2),
    _integer("uint1", 37, 9, 1),
    _integer("uint6", 38, 13, 6),
    _integer("uint3", 39, 12, 3),
)
BY_CODE = {dtype.code: dtype for dtype in DTYPES}
BY_NAME = {dtype.name: dtype for dtype in DTYPES}


def unpack(packed: np.ndarray, dtype: DType, count: int) -> np.ndarray:
    """Elements of less than 8 bits, one a byte.

    Args:
        packed: uint8 [ceil(count * bits / 8)], low bits first
        count: how many elements there are

    Returns:
        int8 or uint8 [count]
    """
    if dtype.bits == 4:
        codes = np.stack([packed & 0x0F, packed >> 4], axis=-1).reshape(-1)[:count]
    else:
        single = np.unpackbits(packed, bitorder="little")[: count * dtype.bits].reshape(count, dtype.bits)
        codes = np.packbits(single, axis=-1, bitorder="little").reshape(count)
    if dtype.storage.kind == "u":
        return codes
    sign = np.uint8(1 << (dtype.bits - 1))
    return ((codes ^ sign).astype(np.int8) - np.int8(sign)).astype(np.int8)
