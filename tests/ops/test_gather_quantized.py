"""`nexus::gather_quantized` has the numerics of ONNX Runtime's GatherBlockQuantized."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from nexus_edge.ops.gather_quantized import gather_quantized


@pytest.mark.parametrize("scale_dtype", ["float32", "float16"])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(("width", "bits", "group"), [(64, 4, 32), (96, 4, 32), (48, 4, 16), (64, 8, 32)])
def test_same_as_the_kernel(width, bits, group, zeros, scale_dtype, run_onnx) -> None:
    rng = np.random.default_rng(width)
    entries, groups = 50, width // group
    table = {
        "qweight": rng.integers(0, 256, (entries, groups, group * bits // 8), dtype=np.uint8),
        "scales": rng.standard_normal((entries, groups)).astype(scale_dtype),
    }
    if zeros:
        table["zero_points"] = rng.integers(0, 256, (entries, -(-groups * bits // 8)), dtype=np.uint8)
    ids = rng.integers(0, entries, (2, 7))

    nodes = [
        helper.make_node("Reshape", ["qweight", "shape"], ["rows"]),
        helper.make_node("Cast", ["scales"], ["wide_scales"], to=TensorProto.FLOAT),
        helper.make_node(
            "GatherBlockQuantized",
            ["rows", "ids", "wide_scales", *(["zero_points"] if zeros else [])],
            ["y"],
            domain="com.microsoft",
            gather_axis=0,
            quantize_axis=1,
            block_size=group,
            bits=bits,
        ),
    ]
    expected = run_onnx(nodes, table | {"shape": np.array([entries, -1])}, {"ids": ids})
    tensors = {name: torch.from_numpy(value) for name, value in table.items()}
    codes = (tensors["qweight"], tensors["scales"], tensors.get("zero_points"))
    rows = gather_quantized(torch.from_numpy(ids), *codes, bits, group)
    # One subtraction of integers and one float32 product on both sides: no room for a difference.
    np.testing.assert_array_equal(rows.numpy(), expected)
