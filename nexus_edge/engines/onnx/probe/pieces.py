"""A graph of the target onnx as one small graph per layer, so that ONNX Runtime prepares one layer at a time.

A node belongs to the first piece that needs its result. What passes from one piece to another is a layer's residual
stream, and the little that all layers share: rotary tables, sizes, masks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from nexus_edge.bundle.layer_names import layer_of_output
from nexus_edge.engines.onnx.probe.runner import OnnxStage
from nexus_edge.engines.probes import Piece, WeightOf
from nexus_edge.errors import ParityError
from nexus_edge.parity.metrics import Array
from nexus_edge.parity.stages import layer_of

_LAST = 1 << 30  # after all layers


@dataclass
class Part:
    """One piece: its nodes in the graph's order, its weights, and the names of what it takes and gives."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: set[str] = field(default_factory=set)
    takes: dict[str, None] = field(default_factory=dict)
    gives: dict[str, None] = field(default_factory=dict)


def pieces(path: Path, weight_of: WeightOf | None) -> Iterator[Piece]:
    """A graph's layers in their order, each loaded when it is asked for.

    Args:
        path: of the graph
        weight_of: where its weights are, if not in the file that the graph names

    Raises:
        ParityError: the file is no graph, or a piece does not load.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (OSError, DecodeError) as error:
        raise ParityError(f"{path.name} does not load: {' '.join(str(error).split())}") from error
    types = {value.name: value for value in model.graph.input}
    parts = parts_of(model.graph)
    for number, part in enumerate(parts):
        needed = frozenset(name for later in parts[number + 1 :] for name in later.takes)
        stage = OnnxStage.of_part(path, _serialized(model, part, types), _weights(model.graph, part, weight_of))
        for name, spec in stage.outputs.items():
            elements = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
            types[name] = onnx.helper.make_tensor_value_info(name, elements, None)
        yield Piece(stage, needed)


def parts_of(graph: onnx.GraphProto) -> list[Part]:
    """A graph's pieces, in the order of the tensor's way."""
    producer = {name: node for node in graph.node for name in node.output if name}
    ends: dict[int, list[str]] = {}
    for name in (*producer, *(value.name for value in graph.output)):
        layer = layer_of(name)
        is_output = any(value.name == name for value in graph.output)
        if is_output or layer_of_output(name) is not None:
            ends.setdefault(_LAST if layer is None else layer, []).append(name)
    owner: dict[str, Part] = {}
    parts = []
    for place in sorted(ends):
        part = Part()
        for name in dict.fromkeys(ends[place]):
            _claim(graph, name, part, producer, owner)
            owner.get(name, part).gives[name] = None
        if part.nodes:
            parts.append(part)
    order = {id(node): place for place, node in enumerate(graph.node)}
    for part in parts:
        part.nodes.sort(key=lambda node: order[id(node)])
    return parts


def _claim(
    graph: onnx.GraphProto,
    end: str,
    part: Part,
    producer: Mapping[str, onnx.NodeProto],
    owner: dict[str, Part],
) -> None:
    """Give `part` every node on the way to `end` that no piece has yet; constants are everybody's."""
    weights, inputs = {tensor.name for tensor in graph.initializer}, {value.name for value in graph.input}
    mine = {id(node) for node in part.nodes}
    waiting = [end]
    while waiting:
        name = waiting.pop()
        if name in weights:
            part.weights.add(name)
        elif name in inputs:
            part.takes[name] = None
        elif name in owner and owner[name] is not part:
            owner[name].gives[name] = None
            part.takes[name] = None
        elif name in producer and id(producer[name]) not in mine:
            node = producer[name]
            mine.add(id(node))
            part.nodes.append(node)
            if node.input:
                owner |= dict.fromkeys(filter(None, node.output), part)
            waiting += filter(None, node.input)


def _serialized(whole: onnx.ModelProto, part: Part, types: Mapping[str, onnx.ValueInfoProto]) -> bytes:
    graph = onnx.GraphProto(name=whole.graph.name)
    graph.node.extend(part.nodes)
    graph.input.extend(types[name] for name in part.takes)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in part.gives)
    graph.initializer.extend(tensor for tensor in whole.graph.initializer if tensor.name in part.weights)
    model = onnx.ModelProto(ir_version=whole.ir_version, graph=graph)
    model.opset_import.extend(whole.opset_import)
    model.functions.extend(whole.functions)
    serialized: bytes = model.SerializeToString()
    return serialized


def _weights(graph: onnx.GraphProto, part: Part, weight_of: WeightOf | None) -> dict[str, Array]:
    """Numbers of those weights that lie in a file."""
    if weight_of is None:
        return {}
    external = [tensor for tensor in graph.initializer if tensor.name in part.weights and tensor.external_data]
    return {tensor.name: weight_of(tensor.name).reshape(tuple(tensor.dims)) for tensor in external}
