"""`nexus::matmul_nbits` has the numerics of ONNX Runtime's MatMulNBits."""

import numpy as np
import pytest
import torch
from onnx import helper

from nexus_edge.ops.matmul_nbits import matmul_nbits

# Both sides compute the same products of small integers and float32 scales and differ in the order of summation only:
# about sqrt(in) float32 roundings of 6e-8 each, relative to the largest output.
SUMMATION_NOISE = 3e-6


def _case(columns: int, rows: int, bits: int, group: int, zeros: bool, bias: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(columns * 7 + rows)
    groups = -(-columns // group)
    case = {
        "qweight": rng.integers(0, 256, (rows, groups, group * bits // 8), dtype=np.uint8),
        "scales": (rng.standard_normal((rows, groups)) * 0.01).astype(np.float32),
    }
    if zeros:
        case["zero_points"] = rng.integers(0, 256, (rows, -(-groups * bits // 8)), dtype=np.uint8)
    if bias:
        case["bias"] = rng.standard_normal(rows).astype(np.float32)
    return case


@pytest.mark.parametrize("accuracy_level", [4, 1])
@pytest.mark.parametrize("tokens", [1, 2, 70])
@pytest.mark.parametrize(
    ("columns", "rows", "bits", "group", "zeros", "bias"),
    [
        (1024, 256, 4, 32, False, False),
        (1024, 256, 4, 32, True, True),
        (1024, 256, 4, 64, False, True),
        (1024, 256, 4, 128, True, False),
        (1024, 256, 8, 32, False, True),
        (1024, 256, 8, 128, True, True),
        (80, 33, 4, 32, True, True),  # the last group is padded, an odd number of groups and of rows
        (40, 10, 8, 64, True, False),  # one group, larger than the row
    ],
)
def test_same_as_the_kernel(columns, rows, bits, group, zeros, bias, tokens, accuracy_level, run_onnx) -> None:
    case = _case(columns, rows, bits, group, zeros, bias)
    x = np.random.default_rng(tokens).standard_normal((2, tokens, columns)).astype(np.float32)
    x[..., ::17] *= 20  # outliers
    x[0, 0] = 0  # groups without any value

    inputs = ["x", *(name if name in case else "" for name in ("qweight", "scales", "zero_points", "", "bias"))]
    while not inputs[-1]:
        inputs.pop()
    shape = {"K": columns, "N": rows, "bits": bits, "block_size": group, "accuracy_level": accuracy_level}
    node = helper.make_node("MatMulNBits", inputs, ["y"], domain="com.microsoft", **shape)
    expected = run_onnx([node], case, {"x": x})

    weight = {name: torch.from_numpy(value) for name, value in case.items()}
    zero_points, offset = weight.get("zero_points"), weight.get("bias")
    activation_bits = 8 if accuracy_level == 4 else 32
    codes = (weight["qweight"], weight["scales"], zero_points, offset)
    y = matmul_nbits(torch.from_numpy(x), *codes, bits, group, activation_bits).numpy()
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= SUMMATION_NOISE * np.abs(expected).max()


def test_rounding_the_activation_matters() -> None:
    """Otherwise the comparison above would not see a missing rounding."""
    case = {name: torch.from_numpy(value) for name, value in _case(256, 16, 4, 32, False, False).items()}
    x = torch.randn(3, 256, generator=torch.Generator().manual_seed(0))
    rounded, exact = (matmul_nbits(x, case["qweight"], case["scales"], None, None, 4, 32, bits) for bits in (8, 32))
    assert (rounded - exact).abs().max() > 100 * SUMMATION_NOISE * exact.abs().max()


def test_large_weights_are_worked_on_in_pieces(monkeypatch) -> None:
    case = {name: torch.from_numpy(value) for name, value in _case(64, 50, 4, 32, True, True).items()}
    arguments = (torch.randn(4, 64), case["qweight"], case["scales"], case["zero_points"], case["bias"], 4, 32, 32)
    whole = matmul_nbits(*arguments)
    monkeypatch.setattr("nexus_edge.ops.matmul_nbits._WEIGHTS_AT_ONCE", 64 * 7)
    torch.testing.assert_close(matmul_nbits(*arguments), whole)
