"""Looks into IRs: what their weights stand for, and which nodes really run."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from nexus_edge.engines.openvino.settings import OpenVinoSettings

EXACT = OpenVinoSettings("f32", 0, "f32").properties(threads=1)
"""Nothing is rounded but by float32."""


def dequantized(model: ov.Model) -> dict[str, np.ndarray]:
    """Stored tensor's name -> the float32 matrix that a product or a gather of the model takes, by OpenVINO itself."""
    found: dict[str, Any] = {}
    for node in model.get_ops():
        place = {"MatMul": 1, "Gather": 0}.get(node.get_type_name())
        if place is None:
            continue
        sources = _leaves(node.input_value(place))
        names = [name for source in sources if (name := source.get_friendly_name()).endswith((".qweight", ".weight"))]
        if names and all(source.get_type_name() == "Constant" for source in sources):
            found[names[0]] = node.input_value(place)
    part = ov.Model([ov.opset13.result(value) for value in found.values()], [])
    return dict(zip(found, ov.Core().compile_model(part, "CPU", EXACT)([]).values(), strict=True))


def _leaves(value: Any) -> list[Any]:
    """The nodes without inputs that a value is computed from."""
    node = value.get_node()
    return [leaf for source in node.input_values() for leaf in _leaves(source)] if node.inputs() else [node]


TILE = 32  # numbers of a row: on a CPU with AMX, products in bfloat16 widen 8-bit weights of other rows when they load


def weights_of_products(path: Path) -> list[str]:
    """Type in which each product holds its weight while it runs, but of rows that no AMX tile fits."""
    compiled = ov.Core().compile_model(path, "CPU", OpenVinoSettings().properties(threads=1))
    nodes = compiled.get_runtime_model().get_ordered_ops()
    products = [node for node in nodes if node.get_rt_info()["layerType"].astype(str) == "FullyConnected"]
    weights = [node.input(1) for node in products]
    return [port.get_element_type().get_type_name() for port in weights if port.get_shape()[-1] % TILE == 0]


def executed(path: Path) -> list[tuple[str, list[str]]]:
    """Kind and input types of each node that really runs."""
    compiled = ov.Core().compile_model(path, "CPU", OpenVinoSettings().properties(threads=1))
    nodes = compiled.get_runtime_model().get_ordered_ops()
    return [
        (
            node.get_rt_info()["layerType"].astype(str),
            [port.get_element_type().get_type_name() for port in node.inputs()],
        )
        for node in nodes
    ]
