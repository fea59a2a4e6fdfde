"""Calls of packages' functions in which layers can be seen, and fed from outside.

A layer on its own is judged in float32, so that nothing but the translation is in question; a whole graph in emulated
float16, as a device would run it. Both are the evaluator's. Only what needs no layer runs as the runtime runs it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nexus_edge.bundle.layer_names import is_layer, layer_of_output, output_of
from nexus_edge.checkpoints import SafetensorsFile
from nexus_edge.engines.coreml.mil import ComputePrecision, MilFunction
from nexus_edge.engines.coreml.probe import variants
from nexus_edge.engines.coreml.session import CoremlFunction, CoremlState, EvaluatedState, open_function
from nexus_edge.engines.probes import Layers
from nexus_edge.errors import BundleError, CheckpointError, ParityError
from nexus_edge.parity.metrics import Array

PRECISION = f"{variants.PRECISION}, single layers in f32"
"""Of the target's counterparts, in words."""

_CAST = r"(_cast_fp16)?$"  # what coremltools adds to the name of a value that it makes float16


@dataclass(frozen=True)
class Call:
    """What goes into a function.

    Attributes:
        inputs: by name
        state: for a function that keeps one
        reference: `<layer>.output` for every layer of the function, where the graph was cut
    """

    inputs: Mapping[str, Array]
    state: CoremlState | None
    reference: Mapping[str, Array]


class Caller:
    """Calls functions of packages in a folder.

    Args:
        folder: with the packages and the tensors that they were made of
        layers: what they are to show
    """

    def __init__(self, folder: Path, layers: Layers) -> None:
        self._folder, self.layers = folder, layers
        self._opened: dict[str, CoremlFunction] = {}
        self._values: dict[str, dict[str, str]] = {}

    def new_state(self, function: MilFunction) -> CoremlState:
        """All states of a function's package at zero."""
        if self.layers == "hidden":
            return self._open(function).new_state()
        return EvaluatedState(function.new_state())

    def run(self, function: MilFunction, call: Call) -> dict[str, Array]:
        """Outputs, and `<layer>.output` where they are to be seen; raises ParityError if it does not run."""
        try:
            if self.layers == "hidden":
                return self._open(function).run(call.inputs, call.state)
            return self._evaluate(function, call)
        except BundleError as error:
            raise ParityError(f"{function.package.stem} does not run: {error}") from error

    def load(self, function: MilFunction) -> None:
        """Load a function that will be called; raises ParityError if that fails."""
        try:
            if self.layers == "hidden":
                self._open(function)
            else:
                self._layers_in(function)
        except BundleError as error:
            raise ParityError(f"{function.package.stem} does not load: {error}") from error

    def fed(self, function: MilFunction) -> dict[str, str]:
        """The values of a function that are replaced by the reference's -> `<layer>.output`."""
        return self._layers_in(function) if self.layers == "cut" else {}

    def _layers_in(self, function: MilFunction) -> dict[str, str]:
        """The values of a function that leave layers -> `<layer>.output`."""
        if function.where not in self._values:
            self._values[function.where] = layer_values(function, self._folder)
        return self._values[function.where]

    def _open(self, function: MilFunction) -> CoremlFunction:
        if function.where not in self._opened:
            self._opened[function.where] = open_function(function)
        return self._opened[function.where]

    def _evaluate(self, function: MilFunction, call: Call) -> dict[str, Array]:
        values = self._layers_in(function)
        state = call.state.values if isinstance(call.state, EvaluatedState) else None
        replaced = {value: call.reference[layer] for value, layer in self.fed(function).items()}
        precision: ComputePrecision = "fp32" if self.layers == "cut" else "fp16"
        results = function.run(call.inputs, state, precision, keep=values.__contains__, replace=replaced)
        return {values.get(name, name): value for name, value in results.items()}


def layer_values(function: MilFunction, folder: Path) -> dict[str, str]:
    """The values that leave layers -> `<layer>.output`; the layers are those that the tensors beside the package name.

    MIL's names have no dots, so `visual.trunk.blocks.3.output` is `visual_trunk_blocks_3_output` there.
    """
    found: dict[str, str] = {}
    for layer in set().union(*(layers_of(file) for file in folder.glob("*.safetensors"))):
        ending = re.compile(re.escape(output_of(layer).replace(".", "_")) + _CAST)
        found |= {value: output_of(layer) for value in function.values if ending.match(value)}
    return found


def layers_of(weights: Path) -> set[str]:
    """The layers whose tensors a safetensors file holds; raises ParityError if it is damaged."""
    try:
        names = SafetensorsFile(weights).infos
    except CheckpointError as error:
        raise ParityError(f"the layers of {weights.stem} have no names: {error}") from error
    paths = {name.rsplit(".", count)[0] for name in names for count in range(1, name.count(".") + 1)}
    return {path for path in paths if is_layer(path)}


def outputs_by_number(weights: Path) -> dict[int, str]:
    """Number of a layer -> `<layer>.output`, of a file that holds the layers of one list."""
    outputs = {output_of(layer) for layer in layers_of(weights)}
    return {number: name for name in outputs if (number := layer_of_output(name)) is not None}
