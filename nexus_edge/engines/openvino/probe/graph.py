"""One OpenVINO graph on the CPU, with the values that leave its layers."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle.layer_names import layer_of_output
from nexus_edge.engines.openvino.session import compile_graph, specs_of
from nexus_edge.engines.openvino.settings import CPU, OpenVinoSettings
from nexus_edge.engines.probes import Layers
from nexus_edge.errors import BundleError, ParityError
from nexus_edge.parity.metrics import Values
from nexus_edge.parity.stages import in_order

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as op

_CUT = ".from_reference"


class OpenVinoGraph:
    """One .xml; see `Stage`.

    Attributes:
        compiled: openvino.CompiledModel
    """

    def __init__(self, path: Path, layers: Layers, settings: OpenVinoSettings) -> None:
        self._name = path.name
        try:
            self.compiled = compile_graph(path, settings, None, partial(self._prepare, layers=layers))
        except BundleError as error:
            raise ParityError(f"{path.name} does not load: {error}") from error

    @classmethod
    def of_model(cls, name: str, model: Any, settings: OpenVinoSettings) -> "OpenVinoGraph":
        """A part of a graph that was read already (openvino.Model); raises RuntimeError if it does not compile."""
        graph = cls.__new__(cls)
        graph._name = name
        graph._prepare(model, "hidden")
        graph.compiled = ov.Core().compile_model(model, CPU, settings.properties(None))
        return graph

    def _prepare(self, model: Any, layers: Layers) -> None:
        """Once compiled, an input or output may have the names of values that are the same as well."""
        if layers != "hidden":
            show_layers(model, cut=layers == "cut")
        self.inputs, self.outputs = specs_of(model.inputs), specs_of(model.outputs)

    def run(self, inputs: Values) -> Values:
        return self.infer(self.compiled.create_infer_request(), inputs)

    def infer(self, request: Any, inputs: Values) -> Values:
        """As `run`, in an openvino.InferRequest of `compiled` whose state may have been set."""
        given = {name: source_of(name) for name in self.inputs}
        missing = [source for source in given.values() if source not in inputs]
        if missing:
            raise ParityError(f"{self._name} takes {', '.join(missing)}, which the original has not")
        try:
            results = request.infer([np.ascontiguousarray(inputs[source]) for source in given.values()])
        except RuntimeError as error:
            raise ParityError(f"{self._name} does not run: {' '.join(str(error).split())}") from error
        values = dict(zip(self.outputs, results.values(), strict=True))
        return {name: values[name] for name in in_order(list(values))}


def source_of(name: str) -> str:
    """The value of the reference that an input takes: `<layer>.output`, where layers were cut from each other."""
    return name.removesuffix(_CUT)


def show_layers(model: Any, cut: bool) -> None:
    """Make each `<layer>.output` an output; if cut, what read it reads an input of that name + `_CUT`."""
    named = [(port, name) for node in model.get_ordered_ops() for port in node.outputs() for name in port.get_names()]
    for port, name in named:
        if layer_of_output(name) is None:
            continue
        port.tensor.set_names({name})  # it may have the names of values that are the same, as well
        if cut:
            given = op.parameter(port.get_partial_shape(), port.get_element_type(), name=name + _CUT)
            given.output(0).tensor.set_names({name + _CUT})
            for reader in port.get_target_inputs():
                reader.replace_source_output(given.output(0))
            model.add_parameters([given])
        model.add_outputs(port)
    model.validate_nodes_and_infer_types()
