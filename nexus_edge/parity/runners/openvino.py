"""Graphs of the target openvino on the CPU.

The plugin rounds the inputs of products with compressed weights, and a decoder's cache, unless it is told not to. So
every graph is judged twice: as it ships, and in float32 throughout, where PyTorch's numbers must come out.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

from nexus_edge.bundle import TensorSpec
from nexus_edge.bundle.layer_names import layer_of_output
from nexus_edge.errors import BundleError, ParityError
from nexus_edge.parity.metrics import Values
from nexus_edge.parity.precisions import EXACT, SHIPPED, in_words
from nexus_edge.parity.runners import ANY_SIZE, Counterpart, Layers, Stage
from nexus_edge.parity.runners.openvino_stages import DecoderStage, EmbeddingStage, VisionStage
from nexus_edge.parity.stages import in_order
from nexus_edge.runtimes.openvino_session import compile_graph
from nexus_edge.runtimes.openvino_settings import OpenVinoSettings

Specs = Mapping[str, TensorSpec]

_CUT = ".from_reference"


class OpenVinoStage:
    """One .xml, compiled; see `Stage`.

    Attributes:
        compiled: openvino.CompiledModel
    """

    def __init__(self, path: Path, layers: Layers, settings: OpenVinoSettings) -> None:
        self._name = path.name
        change = partial(_show_layers, cut=layers == "cut") if layers != "hidden" else _as_it_is
        try:
            self.compiled = compile_graph(path, settings, None, change)
        except BundleError as error:
            raise ParityError(f"{path.name} does not load: {error}") from error
        self.inputs, self.outputs = _specs(self.compiled.inputs), _specs(self.compiled.outputs)

    def run(self, inputs: Values) -> Values:
        return self.infer(self.compiled.create_infer_request(), inputs)

    def infer(self, request: Any, inputs: Values) -> Values:
        """As `run`, in an openvino.InferRequest of `compiled`, whose state may have been set."""
        given = {name: name.removesuffix(_CUT) for name in self.inputs}
        missing = [source for source in given.values() if source not in inputs]
        if missing:
            raise ParityError(f"{self._name} takes {', '.join(missing)}, which the original has not")
        try:
            results = request.infer({name: np.ascontiguousarray(inputs[source]) for name, source in given.items()})
        except RuntimeError as error:
            raise ParityError(f"{self._name} does not run: {' '.join(str(error).split())}") from error
        values = {port.any_name: value for port, value in results.items()}
        return {name: values[name] for name in in_order(list(values))}


class OpenVinoRunner:
    """See `Runner`."""

    rounds_activations = False

    def open(self, path: Path, graph: str, layers: Layers = "hidden") -> OpenVinoStage:
        return OpenVinoStage(path, layers, SHIPPED)

    def counterparts(self, files: Mapping[str, Path]) -> list[Counterpart]:
        stages: dict[str, Callable[[Layers, OpenVinoSettings], Stage]]
        if "language_model" in files:
            stages = {"vision_encoder": partial(_vision, files), "embed_tokens": partial(_embedding, files)}
            stages["decoder"] = partial(_decoder, files)
        else:
            stages = {graph: partial(OpenVinoStage, path) for graph, path in files.items()}
        return [
            Counterpart(
                graph, graph, partial(_open, make, settings), in_words(settings), as_shipped=settings is SHIPPED
            )
            for settings in (EXACT, SHIPPED)
            for graph, make in stages.items()
        ]

    def interface(self, path: Path, graph: str) -> tuple[Specs, Specs]:
        model = ov.Core().read_model(path)
        return _specs(model.inputs), _specs(model.outputs)


RUNNER = OpenVinoRunner()


def _open(
    make: Callable[[Layers, OpenVinoSettings], Stage], settings: OpenVinoSettings, layers: Layers = "hidden"
) -> Stage:
    return make(layers, settings)


def _vision(files: Mapping[str, Path], layers: Layers, settings: OpenVinoSettings) -> Stage:
    tower, projector = files["vision_embeddings"], files["vision_projection"]
    return VisionStage(
        OpenVinoStage(tower, layers, settings), OpenVinoStage(projector, "hidden", settings), tower.parent
    )


def _embedding(files: Mapping[str, Path], layers: Layers, settings: OpenVinoSettings) -> Stage:
    return EmbeddingStage(OpenVinoStage(files["text_embeddings"], layers, settings))


def _decoder(files: Mapping[str, Path], layers: Layers, settings: OpenVinoSettings) -> Stage:
    return DecoderStage(OpenVinoStage(files["language_model"], layers, settings))


def _as_it_is(model: Any) -> None:
    """Leave a model as its file says."""


def _show_layers(model: Any, cut: bool) -> None:
    """Make each `<layer>.output` an output; if cut, what read it reads an input of that name + `_CUT`."""
    named = [(port, name) for node in model.get_ordered_ops() for port in node.outputs() for name in port.get_names()]
    for port, name in named:
        if layer_of_output(name) is None:
            continue
        readers = port.get_target_inputs()
        if cut:
            given = op.parameter(port.get_partial_shape(), port.get_element_type(), name=name + _CUT)
            given.output(0).tensor.set_names({name + _CUT})
            for reader in readers:
                reader.replace_source_output(given.output(0))
            model.add_parameters([given])
        model.add_outputs(port)
    model.validate_nodes_and_infer_types()


def _specs(ports: Any) -> dict[str, TensorSpec]:
    specs = {}
    for port in ports:
        shape = tuple(ANY_SIZE if size.is_dynamic else size.get_length() for size in port.get_partial_shape())
        specs[port.any_name] = TensorSpec(port.any_name, port.get_element_type().to_dtype().name, shape)
    return specs
