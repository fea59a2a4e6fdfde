"""Runs one graph, in PyTorch or in ONNX Runtime, and keeps every named value on the way: layer outputs and outputs.

Both sides name a layer's residual stream `<module>.output`; the exporter gives that name to the ONNX value, a forward
hook gives it to the tensor. A cache output `present.3.key` belongs to layer 3 as well. So a difference has a place.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nexus_edge.errors import ParityError
from nexus_edge.parity.metrics import Array, compare, compare_logits
from nexus_edge.parity.report import Check
from nexus_edge.parity.tolerances import Gate

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nexus_edge.graphs import GraphSpec

Values = Mapping[str, Array]
Layers = Literal["hidden", "visible", "cut"]

_LAYER_OUTPUT = re.compile(r"\.layers\.(\d+)\.output$")
_CACHE_OUTPUT = re.compile(r"^present\.(\d+)\.(?:key|value)$")
_CUT = ".from_reference"
_LAYER_MODULE = re.compile(r"\.layers\.\d+$")


def layer_of(name: str) -> int | None:
    """The layer that a value belongs to: `present.3.key` and `model.layers.3.output` are of layer 3."""
    match = _LAYER_OUTPUT.search(name) or _CACHE_OUTPUT.match(name)
    return None if match is None else int(match.group(1))


def in_order(names: Sequence[str]) -> list[str]:
    """Names as the tensor flows: layer by layer, a layer's cache before its output, the graph's own outputs last."""

    def place(name: str) -> tuple[int, int]:
        layer = layer_of(name)
        return (1 << 30, 0) if layer is None else (layer, int(name.endswith(".output")))

    return sorted(names, key=place)


@contextmanager
def layer_outputs(root: "nn.Module") -> Iterator[dict[str, "Tensor"]]:
    """Inside, every module `...layers.N` of `root` that runs leaves its residual stream under `<name>.output`."""
    seen: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[[Any, Any, Any], None]:
        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            seen[f"{name}.output"] = output[0] if isinstance(output, tuple) else output

        return keep

    handles = [
        module.register_forward_hook(hook(name)) for name, module in root.named_modules() if _LAYER_MODULE.search(name)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def run_torch(spec: "GraphSpec", inputs: Values) -> Values:
    """The graph's module in PyTorch: all layer outputs, then the graph's outputs by name.

    Args:
        spec: a graph around a model with data; its module holds the model as `root`
        inputs: by name, as `spec.inputs` lists them
    """
    import torch

    tensors = [torch.from_numpy(np.array(inputs[tensor.name])) for tensor in spec.inputs]
    root: Any = spec.module.root
    with torch.inference_mode(), layer_outputs(root) as layers:
        result = spec.module(*tensors)
    outputs = result if isinstance(result, tuple) else (result,)
    named = dict(layers) | dict(zip((tensor.name for tensor in spec.outputs), outputs, strict=True))
    return {name: named[name].float().numpy() for name in in_order(list(named))}


class OnnxStage:
    """One .onnx file in ONNX Runtime. The file and its weights are not touched.

    Args:
        path: of the .onnx file
        layers: "hidden": the file as it is. "visible": every layer's output is an output. "cut": besides, every layer
            is fed from outside instead of from the layer before it, and `run` gives it the reference's residual stream.
            Then a fault shows in its own layer and in no other, and rounding that differs by one step does not grow
            from layer to layer, so gates can be tight. All but "hidden" need the `onnx` package.

    Raises:
        ParityError: the graph does not load, or does not run on what the original takes.
    """

    def __init__(self, path: Path, layers: Layers = "hidden") -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        model: str | bytes = str(path)
        if layers != "hidden":
            model = _show_layers(path, cut=layers == "cut")
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except _runtime_errors() as error:
            raise ParityError(f"{path.name} does not load: {_one_line(error)}") from error
        self._name = path.name
        self.inputs = {value.name: value for value in self._session.get_inputs()}
        self.outputs = {value.name: value for value in self._session.get_outputs()}

    def run(self, inputs: Values) -> Values:
        """All outputs by name, in the order of the tensor's way.

        Args:
            inputs: the graph's; where the graph was cut, `<layer>.output` of the reference as well
        """
        given = {name.removesuffix(_CUT): name for name in self.inputs}
        missing = [name for name in given if name not in inputs]
        if missing:
            raise ParityError(f"{self._name} takes {', '.join(missing)}, which the original has not")
        feeds = {name: np.ascontiguousarray(inputs[source]) for source, name in given.items()}
        names = in_order(list(self.outputs))
        try:
            return dict(zip(names, self._session.run(names, feeds), strict=True))
        except _runtime_errors() as error:
            raise ParityError(f"{self._name} does not run: {_one_line(error)}") from error


def _show_layers(path: Path, *, cut: bool) -> bytes:
    """The graph with each `<layer>.output` as an output; if cut, what read it reads an input of that name + `_CUT`."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    names = [name for node in graph.node for name in node.output if _LAYER_OUTPUT.search(name)]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    for node in graph.node if cut else ():
        for i, name in enumerate(node.input):
            if name in names:
                node.input[i] = name + _CUT
    for name in names if cut else ():
        graph.input.append(onnx.helper.make_tensor_value_info(name + _CUT, onnx.TensorProto.FLOAT, None))
    serialized: bytes = model.SerializeToString()
    return serialized


def _runtime_errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's exceptions; they have no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NoSuchFile",
        "NotImplemented",
        "RuntimeException",
    )
    return tuple(getattr(state, name) for name in names)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


@dataclass(frozen=True)
class Judge:
    """Turns two sets of values into checks, with the gate that `gate(stage)` gives."""

    gate: Callable[[str], Gate | None]
    near_tie: float

    def check(self, stage: str, case: str, actual: Values, expected: Values) -> list[Check]:
        """One check for each expected value, in order; a value that is missing or of another shape fails."""
        gate = self.gate(stage)
        checks = []
        for name in in_order(list(expected)):
            problem, measures = None, {}
            if name not in actual:
                problem = "missing in the artefact"
            elif actual[name].shape != expected[name].shape:
                problem = f"shape {list(actual[name].shape)}, expected {list(expected[name].shape)}"
            elif name == "logits":
                measures = compare_logits(actual[name], expected[name], self.near_tie)
            else:
                measures = compare(actual[name], expected[name])
            checks.append(Check(stage, short_name(name), case, measures, gate, layer_of(name), problem))
        return checks


def short_name(name: str) -> str:
    """`output` for a layer's residual stream, whose full name only repeats stage and layer."""
    return "output" if _LAYER_OUTPUT.search(name) else name
