"""Graphs of the target onnx in ONNX Runtime."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle import TensorSpec
from nexus_edge.bundle.layer_names import layer_of_output
from nexus_edge.engines.onnx.probe.layers import with_layers_visible
from nexus_edge.engines.onnx.probe.variants import formats
from nexus_edge.engines.onnx.session import ERRORS, NO_SATURATION, specs_of
from nexus_edge.engines.probes import Counterpart, Layers, Piece, WeightOf, one_by_one
from nexus_edge.errors import ParityError
from nexus_edge.interfaces.host import HostMaker
from nexus_edge.parity.metrics import Array, Values
from nexus_edge.parity.stages import in_order

_CUT = ".from_reference"


class OnnxStage:
    """One .onnx file in a session; see `Stage`."""

    def __init__(self, path: Path, layers: Layers) -> None:
        model: str | bytes = str(path)
        if layers != "hidden":
            model = _cut_layers(path) if layers == "cut" else with_layers_visible(path)
        self._open(path, model, {})

    @classmethod
    def of_part(cls, path: Path, part: bytes, weights: Mapping[str, Array]) -> "OnnxStage":
        """A part of a graph; raises ParityError if it does not load.

        Args:
            path: of the whole graph, in whose folder its weights lie
            part: a serialized onnx.ModelProto
            weights: in the place of those that the part says to lie in a file, by name
        """
        stage = cls.__new__(cls)
        stage._open(path, part, weights)
        return stage

    def _open(self, path: Path, model: str | bytes, weights: Mapping[str, Array]) -> None:
        with without_telemetry():
            import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry(*NO_SATURATION)
        if isinstance(model, bytes):
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
        if weights:
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
            options.add_external_initializers(list(weights), values)
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            self.inputs, self.outputs = specs_of(self._session.get_inputs()), specs_of(self._session.get_outputs())
        except ERRORS as error:
            raise ParityError(f"{path.name} does not load: {_one_line(error)}") from error
        self._name = path.name

    def run(self, inputs: Values) -> Values:
        given = {name.removesuffix(_CUT): name for name in self.inputs}
        missing = [name for name in given if name not in inputs]
        if missing:
            raise ParityError(f"{self._name} takes {', '.join(missing)}, which the original has not")
        feeds = {name: np.ascontiguousarray(inputs[source]) for source, name in given.items()}
        names = in_order(list(self.outputs))
        try:
            return dict(zip(names, self._session.run(names, feeds), strict=True))
        except ERRORS as error:
            raise ParityError(f"{self._name} does not run: {_one_line(error)}") from error


class OnnxRunner:
    """See `Runner`. Layers that are cut, and `interface`, need the `onnx` package."""

    rounds_activations = True

    def open(self, path: Path, graph: str, layers: Layers = "hidden") -> OnnxStage:
        return OnnxStage(path, layers)

    def counterparts(self, files: Mapping[str, Path], host: HostMaker | None) -> list[Counterpart]:
        parts = one_by_one(self, files, formats())
        return [replace(part, pieces=partial(_pieces, files[part.name])) for part in parts]

    def interface(self, path: Path, graph: str) -> tuple[Mapping[str, TensorSpec], Mapping[str, TensorSpec]]:
        import onnx

        def specs(values: Any) -> dict[str, TensorSpec]:
            return {
                value.name: TensorSpec(
                    value.name,
                    str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
                    tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim),
                )
                for value in values
            }

        loaded = onnx.load(str(path), load_external_data=False).graph
        return specs(loaded.input), specs(loaded.output)


RUNNER = OnnxRunner()


def _pieces(path: Path, weight_of: WeightOf | None) -> Iterator[Piece]:
    """See `onnx_pieces.pieces`, which needs the `onnx` package where the rest of a replay does not."""
    from nexus_edge.engines.onnx.probe.pieces import pieces

    return pieces(path, weight_of)


def _cut_layers(path: Path) -> bytes:
    """The graph with each `<layer>.output` as an output; what read it reads an input of that name + `_CUT`."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    names = [name for node in graph.node for name in node.output if layer_of_output(name) is not None]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name in names:
                node.input[i] = name + _CUT
    for name in names:
        graph.input.append(onnx.helper.make_tensor_value_info(name + _CUT, onnx.TensorProto.FLOAT, None))
    serialized: bytes = model.SerializeToString()
    return serialized


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
