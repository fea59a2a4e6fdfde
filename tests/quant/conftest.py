"""`run_exported`: a quantized layer through the project's own exporter, computed by the real ONNX Runtime."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx_sessions import session_of
from torch import Tensor, nn

from nexus_edge.bundle import TensorSpec
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.targets.onnx.emit import attach_weights, translate


class _Graph(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.root = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.root(x)


@pytest.fixture
def run_exported() -> Callable[[nn.Module, nn.Module, Tensor], np.ndarray]:
    """(layer on meta, the same layer with data, x [batch, tokens, ...]) -> what ONNX Runtime makes of `x`"""

    sessions: dict[nn.Module, onnxruntime.InferenceSession] = {}

    def run(meta: nn.Module, layer: nn.Module, x: Tensor) -> np.ndarray:
        if meta not in sessions:
            sessions[meta] = session_of(exported(meta, layer, x))
        return sessions[meta].run(None, {"x": x.numpy()})[0]

    def exported(meta: nn.Module, layer: nn.Module, x: Tensor) -> bytes:
        dtype = str(x.dtype).removeprefix("torch.")
        spec = GraphSpec(
            "layer",
            _Graph(meta),
            inputs=(TensorSpec("x", dtype, ("batch", "tokens", *x.shape[2:])),),
            outputs=(TensorSpec("y", "float32", ("batch", "tokens", layer.shape[0 if x.ndim == 3 else 1])),),
        )
        model = translate(spec)
        attach_weights(model, {}, dict(layer.named_buffers()))
        return ir.to_proto(model).SerializeToString()

    return run


@pytest.fixture
def outliers() -> Tensor:
    """float32 [2, 35, 80]: some channels 20 times as large, as in a vision tower; one token and one group of zeros"""
    x = torch.randn(2, 35, 80, generator=torch.Generator().manual_seed(0))
    x[..., ::17] *= 20
    x[0, 0] = 0
    x[1, 1, 32:64] = 0
    return x
