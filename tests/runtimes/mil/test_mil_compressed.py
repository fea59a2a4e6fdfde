"""Compressed constants, as coremltools writes them, decompressed here."""

from typing import Any

import numpy as np
import pytest

from nexus_edge.engines.coreml.mil import MilFunction, MilModel
from nexus_edge.engines.coreml.mil.registry import operators
from nexus_edge.errors import BundleError

pytestmark = pytest.mark.slow


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def stored(save: Any, ct: Any, mb: Any, make: Any, target: str = "iOS18") -> MilFunction:
    """A package that adds x to the constant that `make` builds; it is saved as `weight`."""

    @mb.program(input_specs=[mb.TensorSpec((1,))], opset_version=getattr(ct.target, target))
    def program(x: Any) -> Any:
        return mb.add(x=x, y=make(), name="y")

    return MilModel.open(save(program, target=target)).main


@pytest.mark.parametrize("kind", ["int4", "uint4", "int8", "uint8"])
@pytest.mark.parametrize("with_offset", [False, True])
def test_blocks(save: Any, ct: Any, mb: Any, rng: np.random.Generator, kind: str, with_offset: bool) -> None:
    from coremltools.converters.mil.mil import types

    bits, signed = int(kind[-1]), kind[0] == "i"
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
    storage = {"int4": types.np_int4_dtype, "uint4": types.np_uint4_dtype}.get(kind, np.dtype(kind))
    codes = rng.integers(low, high, (6, 64))
    codes[0, :2] = low, high - 1
    scale = rng.random((6, 2)).astype(np.float32) + np.float32(0.5)
    offset = rng.integers(low, high, (6, 2))
    arguments = {"data": codes.astype(storage), "scale": scale}
    if with_offset:
        arguments["offset"] = offset.astype(storage)
    main = stored(save, ct, mb, lambda: mb.constexpr_blockwise_shift_scale(**arguments, name="weight"))

    shift = np.repeat(offset, 32, 1) if with_offset else 0
    expected = (codes - shift) * np.repeat(scale, 32, 1)
    np.testing.assert_array_equal(main.constant("weight"), expected.astype(np.float32))
    np.testing.assert_array_equal(main.run({"x": np.zeros(1, np.float32)})["y"], expected.astype(np.float32))


def test_blocks_along_other_axes_than_the_last(rng: np.random.Generator) -> None:
    codes, scale = rng.integers(-8, 8, (4, 6, 5)).astype(np.int8), rng.random((2, 3, 1)).astype(np.float32)
    got = operators()["constexpr_blockwise_shift_scale"].function(data=codes, scale=scale)
    np.testing.assert_array_equal(got, codes * np.repeat(np.repeat(scale, 2, 0), 2, 1))


def test_a_block_that_does_not_divide_the_weight(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"\[2, 3\] groups do not divide \[2, 64\]"):
        operators()["constexpr_blockwise_shift_scale"].function(
            data=np.zeros((2, 64), np.int8), scale=np.ones((2, 3), np.float32)
        )


def test_the_first_of_two_elements_is_in_the_low_half(save: Any, ct: Any, mb: Any) -> None:
    """The same bytes as ONNX's MatMulNBits and OpenVINO's u4: the bundle relies on it."""
    from coremltools.converters.mil.mil import types

    codes = np.arange(64).reshape(1, 64) % 16
    data, scale = codes.astype(types.np_uint4_dtype), np.ones((1, 2), np.float32)
    main = stored(save, ct, mb, lambda: mb.constexpr_blockwise_shift_scale(data=data, scale=scale, name="weight"))
    assert main.constant("weight").tolist() == codes.tolist()
    path = main._package.path / "Data/com.apple.CoreML/weights/weight.bin"
    assert bytes(range(0x10, 0x100, 0x22)) in path.read_bytes()  # 0x10, 0x32, 0x54 ...


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("size", [1, 2])
def test_tables(save: Any, ct: Any, mb: Any, rng: np.random.Generator, bits: int, size: int) -> None:
    from coremltools.converters.mil.mil import types

    indices = rng.integers(0, 1 << bits, (4, 6))
    table = rng.standard_normal((2, 1, 1 << bits, size)).astype(np.float32)  # one for each half of the rows
    storage = np.uint8 if bits == 8 else getattr(types, f"np_uint{bits}_dtype")
    arguments = {"indices": indices.astype(storage), "lut": table}
    if size > 1:
        arguments["vector_axis"] = np.int32(1)
    main = stored(save, ct, mb, lambda: mb.constexpr_lut_to_dense(**arguments, name="weight"))
    expected = [[table[row // 2, 0, index] for index in line] for row, line in enumerate(indices)]
    np.testing.assert_array_equal(main.constant("weight"), np.reshape(expected, (4, 6 * size)))


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_tables_of_ios_16(save: Any, ct: Any, mb: Any, rng: np.random.Generator, bits: int) -> None:
    indices, table = rng.integers(0, 1 << bits, 15), rng.standard_normal(1 << bits).astype(np.float32)
    spread = np.unpackbits(indices.astype(np.uint8)[:, None], axis=1, bitorder="little")[:, :bits]
    arguments = {"indices": np.packbits(spread, bitorder="little"), "lut": table, "shape": np.array([3, 5], np.uint32)}
    main = stored(save, ct, mb, lambda: mb.constexpr_lut_to_dense(**arguments, name="weight"), "iOS16")
    np.testing.assert_array_equal(main.constant("weight"), table[indices].reshape(3, 5))


@pytest.mark.parametrize("along", [0, 1, None])
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_affine(save: Any, ct: Any, mb: Any, rng: np.random.Generator, along: int | None, kind: type) -> None:
    codes = rng.integers(0, 120, (4, 5)).astype(kind)
    count = () if along is None else (codes.shape[along],)
    scale, zero = (rng.random(count) + 0.5).astype(np.float32), rng.integers(0, 9, count).astype(kind)
    arguments = {"quantized_data": codes, "scale": scale, "zero_point": zero, "axis": along or 0}
    main = stored(save, ct, mb, lambda: mb.constexpr_affine_dequantize(**arguments, name="weight"), "iOS16")
    shape = [-1 if axis == along else 1 for axis in range(2)]
    expected = (codes.astype(np.float32) - zero.reshape(shape)) * scale.reshape(shape)
    np.testing.assert_allclose(main.constant("weight"), expected, rtol=1e-7)


def test_cast(save: Any, ct: Any, mb: Any, rng: np.random.Generator) -> None:
    half = rng.standard_normal((3, 5)).astype(np.float16)
    main = stored(save, ct, mb, lambda: mb.constexpr_cast(source_val=half, output_dtype="fp32", name="weight"), "iOS16")
    np.testing.assert_array_equal(main.constant("weight"), half.astype(np.float32))


def test_a_decompressed_weight_of_fp16_is_rounded_like_everything(
    save: Any, ct: Any, mb: Any, rng: np.random.Generator
) -> None:
    codes, scale = rng.integers(-128, 128, (4, 64)).astype(np.int8), rng.random((4, 1)).astype(np.float16)

    @mb.program(input_specs=[mb.TensorSpec((4, 64))], opset_version=ct.target.iOS18)
    def program(x: Any) -> Any:
        weight = mb.constexpr_blockwise_shift_scale(data=codes, scale=scale, name="weight")
        return mb.add(x=mb.cast(x=x, dtype="fp16"), y=weight, name="y")

    main = MilModel.open(save(program, "fp16")).main
    exact = codes * scale.astype(np.float32)
    zeros = {"x": np.zeros((4, 64), np.float32)}
    np.testing.assert_array_equal(main.run(zeros)["y"], exact)
    np.testing.assert_array_equal(main.run(zeros, precision="fp16")["y"], exact.astype(np.float16))


def test_what_is_no_constant(save: Any, ct: Any, mb: Any) -> None:
    main = stored(save, ct, mb, lambda: mb.const(val=np.ones(100, np.float32), name="weight"))
    assert main.constant("weight").shape == (100,)
    for name in ("y", "absent"):
        with pytest.raises(BundleError, match=f"has no constant '{name}'"):
            main.constant(name)
