"""One function of a saved Core ML package, ready to run: in Core ML itself on a Mac, elsewhere in our evaluator.

    open_function -> CoremlFunction: NativeFunction (coreml_native.py) or EvaluatedFunction (mil/)

Which one it is, is decided here and nowhere else.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from nexus_edge.engines.coreml.mil import ComputePrecision, Feature, MilFunction, State
from nexus_edge.engines.coreml.mil.registry import Array
from nexus_edge.engines.coreml.native import NativeFunction, is_native
from nexus_edge.errors import BundleError


class CoremlState(Protocol):
    """States by name; those of one package serve all of its functions. (coremltools' MLState is one.)"""

    def read_state(self, name: str) -> Array:
        """The value of a state."""

    def write_state(self, name: str, value: Array) -> None:
        """Put a value of the state's shape in its place."""


class CoremlFunction(Protocol):
    """A function of a package.

    Attributes:
        where: package and function, the beginning of a message
        inputs, outputs, states: what it takes, gives and keeps, by name
    """

    where: str
    inputs: Mapping[str, Feature]
    outputs: Mapping[str, Feature]
    states: Mapping[str, Feature]

    def new_state(self) -> CoremlState:
        """All states of the package at zero."""

    def run(self, inputs: Mapping[str, Array], state: CoremlState | None = None) -> dict[str, Array]:
        """All outputs by name, floats as float32.

        Args:
            inputs: all of `self.inputs`; an image as uint8 [height, width, 3]
            state: read and written; needed where there are states

        Raises:
            BundleError: an input is missing or does not fit, or the function does not run.
        """


class EvaluatedState:
    """See `CoremlState`."""

    def __init__(self, values: State) -> None:
        self.values = values

    def read_state(self, name: str) -> Array:
        return self.values[name]

    def write_state(self, name: str, value: Array) -> None:
        self.values[name] = np.asarray(value, self.values[name].dtype)


class EvaluatedFunction:
    """A function in the MIL evaluator: any machine, and hundreds of times slower than what it stands for."""

    def __init__(self, function: MilFunction, precision: ComputePrecision = "fp16") -> None:
        self._function, self._precision = function, precision
        self.where, self.inputs, self.outputs = function.where, function.inputs, function.outputs
        self.states = function.states

    def new_state(self) -> EvaluatedState:
        return EvaluatedState(self._function.new_state())

    def run(self, inputs: Mapping[str, Array], state: CoremlState | None = None) -> dict[str, Array]:
        """See `CoremlFunction.run`."""
        if state is not None and not isinstance(state, EvaluatedState):
            raise BundleError(f"{self.where}: was given a state of another kind; start with new_state()")
        return self._function.run(inputs, None if state is None else state.values, self._precision)


def open_function(function: MilFunction, units: str = "all") -> CoremlFunction:
    """What runs a function of a package.

    Args:
        function: see `MilModel.open`
        units: one of `advice.UNITS`; the evaluator knows only this CPU

    Raises:
        BundleError: Core ML cannot load it.
    """
    return NativeFunction(function, units) if is_native() else EvaluatedFunction(function)
