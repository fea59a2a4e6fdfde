"""Core ML itself, through coremltools: on a Mac, and never imported elsewhere."""

import platform
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image

from nexus_edge.engines.coreml.mil import MilFunction
from nexus_edge.engines.coreml.mil.registry import Array
from nexus_edge.errors import BundleError

NEEDED_MACOS = 15
"""The first that knows states, constants in blocks, and several functions in a package."""

_UNITS = {"all": "ALL", "cpuOnly": "CPU_ONLY", "cpuAndGPU": "CPU_AND_GPU", "cpuAndNeuralEngine": "CPU_AND_NE"}
"""Name of MLComputeUnits' case -> coremltools' name of it."""


def is_native() -> bool:
    """Core ML runs here; `why_not_native` says what is missing."""
    return why_not_native() is None


def why_not_native() -> str | None:
    """In words what is missing for Core ML; None if nothing is."""
    if sys.platform != "darwin":
        return f"Core ML is part of macOS, this is {platform.system()}"
    version = platform.mac_ver()[0]
    if int(version.partition(".")[0] or 0) < NEEDED_MACOS:
        return f"these packages need macOS {NEEDED_MACOS}, this is {version}"
    if find_spec("coremltools") is None:
        return "coremltools is not installed: pip install 'nexus-edge[coreml]'"
    return None


class NativeFunction:
    """A function in Core ML; see `coreml_session.CoremlFunction`.

    Core ML compiles a package for each of its functions. A state that one of them made serves the others.

    Args:
        function: its place and its interface are taken; nothing is evaluated
        units: one of `advice.UNITS`
    """

    def __init__(self, function: MilFunction, units: str) -> None:
        import coremltools

        self.where, self.inputs, self.outputs = function.where, function.inputs, function.outputs
        self.states = function.states
        try:
            self._model: Any = coremltools.models.MLModel(
                str(function.package),
                # "main" is the only function of its package, and Core ML wants no name for that.
                function_name=None if function.name == "main" else function.name,
                compute_units=coremltools.ComputeUnit[_UNITS[units]],
            )
        except (RuntimeError, ValueError) as error:
            raise self._failed("does not load", error) from error

    def new_state(self) -> Any:
        """See `CoremlFunction.new_state`."""
        try:
            return self._model.make_state()
        except RuntimeError as error:
            raise self._failed("makes no state", error) from error

    def run(self, inputs: Mapping[str, Array], state: Any = None) -> dict[str, Array]:
        """See `CoremlFunction.run`."""
        missing = [name for name in self.inputs if name not in inputs]
        if missing:
            raise BundleError(f"{self.where}: the input {missing[0]!r} is missing")
        given = {name: self._given(name, inputs[name]) for name in self.inputs}
        try:
            results = self._model.predict(given, state)
        except (RuntimeError, ValueError, TypeError) as error:
            raise self._failed("does not run", error) from error
        return {name: _wide(np.asarray(results[name])) for name in self.outputs}

    def _given(self, name: str, value: Array) -> Any:
        feature = self.inputs[name]
        if feature.kind == "image":
            return Image.fromarray(value)
        # float16 is given as float32, which Core ML converts: coremltools can hand over no other float.
        wanted = np.float32 if feature.dtype == "float16" else np.dtype(feature.dtype)
        return np.ascontiguousarray(value, wanted)

    def _failed(self, what: str, error: Exception) -> BundleError:
        message = " ".join(str(error).split())
        return BundleError(f"{self.where}: {what} in Core ML ({message[-300:]}); export the bundle again")


def _wide(value: Array) -> Array:
    return value.astype(np.float32) if value.dtype.kind == "f" else value
