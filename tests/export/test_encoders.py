"""What ONNX Runtime makes of an encoder: attention in both of its forms, and sums before norms."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx_sessions import session_of
from torch import Tensor, nn

from nexus_edge.bundle import TensorSpec
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.ops.attention import attention
from nexus_edge.targets.onnx.emit import attach_weights, translate

pytestmark = pytest.mark.slow

NOISE = 1e-5  # sums of at most 600 float32 terms in another order, relative to the largest value
HEADS, WIDTH = 3, 24


class _Attention(nn.Module):
    def __init__(self, queries: int | None) -> None:
        super().__init__()
        self.queries = queries

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        return attention(x[:, : self.queries], x * 2, x - 1, HEADS, visible)


def export(tokens: int | str, *, padded: bool, queries: int | None = None) -> ir.Model:
    inputs = [TensorSpec("x", "float32", ("batch", tokens, WIDTH))]
    if padded:
        inputs.append(TensorSpec("ids", "int64", ("batch", tokens)))
    module = _Attention(queries)
    graph = _Padded(module) if padded else module
    output = TensorSpec("y", "float32", ("batch", queries or tokens, WIDTH))
    return translate(GraphSpec("attention", graph, tuple(inputs), (output,)))


class _Padded(nn.Module):
    def __init__(self, inner: _Attention) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return self.inner(x, ids != 0)


def run(model: ir.Model, *inputs: Tensor) -> np.ndarray:
    session = session_of(ir.to_proto(model).SerializeToString())
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, (tensor.numpy() for tensor in inputs), strict=True)))[0]


def kinds(model: ir.Model) -> set[str]:
    return {node.op_type for node in model.graph}


def close(actual: np.ndarray, expected: Tensor) -> bool:
    assert actual.shape == expected.shape
    return bool((torch.from_numpy(actual) - expected).abs().max() <= NOISE * expected.abs().max())


@pytest.mark.parametrize(("tokens", "kind"), [(197, "Attention"), (577, "MultiHeadAttention")])
def test_images(tokens: int, kind: str) -> None:
    """Beyond 512 tokens the kernel that never holds the scores is taken."""
    model = export(tokens, padded=False)
    assert kind in kinds(model)
    x = torch.randn(2, tokens, WIDTH, generator=torch.Generator().manual_seed(0))
    assert close(run(model, x), _Attention(None)(x))


@pytest.mark.parametrize("queries", [None, 1])
def test_texts_of_different_lengths(queries: int | None) -> None:
    model = export("tokens", padded=True, queries=queries)
    assert "Attention" in kinds(model)
    x = torch.randn(3, 11, WIDTH, generator=torch.Generator().manual_seed(0))
    ids = torch.ones(3, 11, dtype=torch.int64)
    ids[1, 4:] = 0
    ids[2, 1:] = 0
    result = run(model, x, ids)
    assert close(result, _Attention(queries)(x, ids != 0))
    alone = run(model, x[1:2, :4], ids[1:2, :4])
    assert close(result[1:2, : alone.shape[1]], torch.from_numpy(alone))


class _PostNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.root = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x.exp()  # ONNX Runtime fuses what has the same sizes by name, and those of an input are called otherwise
        return self.root(x + x.sin())


def test_a_sum_before_a_norm_is_not_fused_to_the_slow_kernel(tmp_path: Path) -> None:
    """If this fails, the pass `keep_norms_apart` has lost its effect, or its reason."""
    with torch.device("meta"):
        module = _PostNorm()
    x, y = (TensorSpec(name, "float32", ("batch", 5, WIDTH)) for name in "xy")
    model = translate(GraphSpec("norm", module, (x,), (y,)))
    attach_weights(model, {}, {"weight": torch.ones(WIDTH), "bias": torch.zeros(WIDTH)})
    assert "SkipLayerNormalization" not in optimized(model, tmp_path / "kept.onnx")
    (total,) = (node for node in model.graph if node.op_type == "Sum")
    total.op_type = "Add"
    assert "SkipLayerNormalization" in optimized(model, tmp_path / "fused.onnx")


def optimized(model: ir.Model, path: Path) -> set[str]:
    """The operators that ONNX Runtime runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options, ["CPUExecutionProvider"])
    return kinds(ir.load(path))
