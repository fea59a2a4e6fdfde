"""A decoder that takes positions gets them, in the shape that it declares."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from nexus_edge.engines.onnx.decoder import DecoderGraphs, Graph, OnnxDecoder
from nexus_edge.interfaces.engine import Positions

POSITIONS = np.arange(6, dtype=np.int64).reshape(3, 2)  # three axes, two tokens


def session(nodes: list, inputs: list, outputs: list, constants: list) -> onnxruntime.InferenceSession:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def value(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.mark.parametrize(("axes", "shape"), [(1, ("batch", "tokens")), (3, (3, "batch", "tokens"))])
def test_positions_reach_the_graph(axes: int, shape: tuple[int | str, ...]) -> None:
    """Its one logit is the sum of position times weight, which no other order of axes or tokens gives."""
    weights = np.array([1, 10, 100, 1000, 10000, 100000][: 2 * axes], np.float32)
    past, present = (
        value(f"{name}.0.key", TensorProto.FLOAT, 1, 1, "room", 1) for name in ("past_key_values", "present")
    )
    decoder = session(
        [
            helper.make_node("Cast", ["position_ids"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["float", "row"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
            helper.make_node("Identity", ["past_key_values.0.key"], ["present.0.key"]),
        ],
        [
            value("inputs_embeds", TensorProto.FLOAT, "batch", "tokens", 4),
            value("attention_mask", TensorProto.INT64, "batch", "total"),
            value("position_ids", TensorProto.INT64, *shape),
            past,
        ],
        [value("logits", TensorProto.FLOAT, "batch", 1, 1), present],
        [
            numpy_helper.from_array(np.array([1, 1, -1], np.int64), "row"),
            numpy_helper.from_array(weights[:, None], "weights"),
        ],
    )
    embed = session(
        [helper.make_node("Gather", ["table", "input_ids"], ["inputs_embeds"])],
        [value("input_ids", TensorProto.INT64, "batch", "tokens")],
        [value("inputs_embeds", TensorProto.FLOAT, "batch", "tokens", 4)],
        [numpy_helper.from_array(np.eye(4, dtype=np.float32), "table")],
    )
    made = OnnxDecoder(DecoderGraphs(Graph(Path("embed.onnx"), embed), Graph(Path("decoder.onnx"), decoder)))
    embeds = made.embed(np.array([2, 0]))
    assert embeds.argmax(-1).tolist() == [2, 0]
    ids = POSITIONS[:axes]
    assert made.extend(embeds, 0, Positions(ids, 2)).tolist() == [float((ids.ravel() * weights).sum())]
