"""Reads a saved .mlpackage with coremltools alone: programs, and the constants that their weights became."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

coremltools = pytest.importorskip("coremltools", reason="needs the extra `coreml`")


def spec_of(path: Path) -> Any:
    """The package's protobuf."""
    return coremltools.utils.load_spec(str(path))


def program_of(path: Path) -> Any:
    """The package's program with its constants, as coremltools reads it back."""
    from coremltools.converters.mil.frontend.milproto.load import load

    spec = spec_of(path)
    weights = path / "Data/com.apple.CoreML/weights"
    return load(spec, specification_version=spec.specificationVersion, file_weights_dir=str(weights))


def operations(path: Path, function: str, kind: str = "") -> list[Any]:
    """The operations of a function, those of one kind if it is given."""
    return [op for op in program_of(path).functions[function].operations if not kind or op.op_type == kind]


def dequantized(constant: Any) -> np.ndarray:
    """float64 values of a compressed constant, from its data and Apple's definition of the op."""
    if constant.op_type == "constexpr_affine_dequantize":
        data = constant.quantized_data.val.astype(np.float64)
        sizes = [1] * data.ndim
        sizes[constant.axis.val] = -1
        zero = np.asarray(constant.zero_point.val, np.float64)
        zero = zero.reshape(sizes) if zero.ndim else zero
        return (data - zero) * constant.scale.val.astype(np.float64).reshape(sizes)
    data, scale = constant.data.val.astype(np.float64), constant.scale.val.astype(np.float64)
    offset = np.zeros_like(scale) if constant.offset is None else constant.offset.val.astype(np.float64)
    for axis, (size, blocks) in enumerate(zip(data.shape, scale.shape, strict=True)):
        scale, offset = (np.repeat(part, size // blocks, axis) for part in (scale, offset))
    return (data - offset) * scale
