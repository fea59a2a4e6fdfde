"""`nexus::matmul_int8` has the numerics of the ONNX nodes it is lowered to."""

import numpy as np
import pytest
import torch
from onnx import NodeProto, helper

from nexus_edge.ops.matmul_int8 import matmul_int8


def _nodes(bias: bool) -> list[NodeProto]:
    """Divide by each token's peak, fixed-range uint8 around 128, int8 product, multiply by the peak."""
    make = helper.make_node
    return [
        make("Abs", ["x"], ["magnitude"]),
        make("ReduceMax", ["magnitude", "last"], ["largest"], keepdims=1),
        make("Max", ["largest", "tiny"], ["peak"]),
        make("Div", ["x", "peak"], ["unit"]),
        make("QuantizeLinear", ["unit", "step", "centre"], ["codes"]),
        make("Reshape", ["codes", "flat"], ["codes2d"]),
        make(
            "QGemm",
            ["codes2d", "step", "centre", "qweight", "scales", "zero"],
            ["product2d"],
            domain="com.microsoft",
            transB=1,
        ),
        make("Shape", ["x"], ["leading"], end=-1),
        make("Concat", ["leading", "last"], ["shape"], axis=0),
        make("Reshape", ["product2d", "shape"], ["product"]),
        make("Mul", ["product", "peak"], ["scaled" if bias else "y"]),
        *([make("Add", ["scaled", "bias"], ["y"])] if bias else []),
    ]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tokens", [1, 2, 70])
@pytest.mark.parametrize(("columns", "rows"), [(1024, 256), (80, 33), (17, 5)])
def test_same_as_the_kernels(columns, rows, tokens, bias, run_onnx) -> None:
    rng = np.random.default_rng(columns)
    qweight = rng.integers(-127, 128, (rows, columns), dtype=np.int8)
    scales = (rng.random(rows) * 0.01).astype(np.float32)
    offset = rng.standard_normal(rows).astype(np.float32)
    x = rng.standard_normal((2, tokens, columns)).astype(np.float32)
    x[..., ::17] *= 20
    x[0, 0] = 0

    constants = {
        "qweight": qweight, "scales": scales, "zero": np.zeros(rows, np.int8), "bias": offset,
        "last": np.array([-1]), "flat": np.array([-1, columns]), "tiny": np.float32(1e-30),
        "step": np.float32(1 / 127), "centre": np.uint8(128),
    }  # fmt: skip
    constants = {name: np.asarray(value) for name, value in constants.items() if bias or name != "bias"}
    expected = run_onnx(_nodes(bias), constants, {"x": x})
    y = matmul_int8(
        torch.from_numpy(x),
        torch.from_numpy(qweight),
        torch.from_numpy(scales),
        torch.from_numpy(offset) if bias else None,
    ).numpy()
    assert np.abs(y - expected).max() <= 3e-6 * np.abs(expected).max()
