"""ONNX Runtime's kernel sees in the bytes of a quantizer what the quantizer meant."""

import numpy as np
import pytest
import torch
from onnx import helper

from nexus_edge.quant.methods.rtn import round_to_nearest
from nexus_edge.quant.schemes import Scheme


@pytest.mark.parametrize("columns", [256, 80])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_kernel_reads_our_bytes_as_the_weight(symmetric, bits, columns, run_onnx) -> None:
    """An identity matrix through MatMulNBits shows the weight that ONNX Runtime sees in the bytes."""
    weight = torch.randn(24, columns, generator=torch.Generator().manual_seed(0)) * 0.02
    scheme = Scheme("test", "", "rtn", bits, 32, symmetric)
    quantized = round_to_nearest(weight, scheme)
    constants = {name: tensor.numpy() for name, tensor in quantized.buffers().items()}
    shape = {"K": columns, "N": 24, "bits": bits, "block_size": 32, "accuracy_level": 1}
    node = helper.make_node("MatMulNBits", ["x", *constants], ["y"], domain="com.microsoft", **shape)
    seen = run_onnx([node], constants, {"x": np.eye(columns, dtype=np.float32)}).T
    np.testing.assert_allclose(seen, quantized.dequantize().numpy(), rtol=0, atol=1e-7)
    step = quantized.scales.abs().max().item()
    assert np.abs(seen - weight.numpy()).max() <= step
