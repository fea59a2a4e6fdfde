"""Graphs of the target coreml in the MIL evaluator, which needs no Mac.

Graphs have fixed shapes, the original's have not: images and texts go through one by one here, and what is missing in
a text is filled up with zeros, which the models do not look at. coreml_layers.py says who computes, and how precisely.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.engines.coreml.images import IMAGE
from nexus_edge.engines.coreml.interface import function_of, sizes_of, specs_of
from nexus_edge.engines.coreml.mil import Feature, MilFunction, MilModel
from nexus_edge.engines.coreml.probe import vlm as coreml_vlm
from nexus_edge.engines.coreml.probe.images import ImageStage
from nexus_edge.engines.coreml.probe.layers import Call, Caller
from nexus_edge.engines.coreml.probe.provenance import foreign_packages, incomplete_packages
from nexus_edge.engines.coreml.probe.variants import FORMATS
from nexus_edge.engines.interface import Specs
from nexus_edge.engines.probes import Counterpart, Layers, Stage
from nexus_edge.errors import BundleError, ParityError
from nexus_edge.interfaces.host import HostMaker
from nexus_edge.parity.metrics import Array, Values
from nexus_edge.parity.report.report import NotRunError
from nexus_edge.parity.stages import in_order

_FORM = re.compile(r"(\w+?)(?:_ios\d+)?(?:\.\w+)?")
"""`<graph>`, for another system, another function: `image_encoder_ios17`, `text_encoder.tokens_64`."""


class CoremlStage:
    """One function of a package; see `Stage`."""

    def __init__(self, path: Path, graph: str, layers: Layers) -> None:
        self._name, self._caller = graph, Caller(path.parents[3], layers)
        self._function = _open(path, graph)
        if self._function.unknown:
            raise ParityError(f"{graph} holds operations that nothing here evaluates: {self._function.unknown[0]}")
        self._caller.load(self._function)
        try:
            self._function.check_weights()  # an evaluator and an app meet a file that is cut off when they run
        except BundleError as error:
            raise ParityError(f"{graph} does not load: {error}") from error
        self.inputs, self.outputs = specs_of(self._function)

    def run(self, inputs: Values) -> Values:
        missing = [name for name in self.inputs if name not in inputs]
        if missing:
            raise ParityError(f"{self._name} takes {', '.join(missing)}, which the original has not")
        if self._function.states:
            raise NotRunError(f"{self._name} keeps a state, which the original is given instead")
        rows = [self._run(inputs, row) for row in range(len(inputs[next(iter(self.inputs))]))]
        return {name: np.concatenate([values[name] for values in rows]) for name in in_order(list(rows[0]))}

    def _run(self, inputs: Values, row: int) -> dict[str, Array]:
        """One image or text of a batch."""
        features = self._function.inputs
        given = {name: self._given(inputs[name][row : row + 1], feature) for name, feature in features.items()}
        reference: dict[str, Array] = {}
        for value, layer in self._caller.fed(self._function).items():
            if layer not in inputs:
                raise ParityError(f"{self._name} takes {layer}, which the original has not")
            declared = tuple(size or 1 for size in self._function.values[value].shape)
            reference[layer] = self._filled(inputs[layer][row : row + 1], declared)
        found = self._caller.run(self._function, Call(given, None, reference))
        tokens = next(iter(self.inputs.values())).shape[1:2], inputs[next(iter(self.inputs))].shape[1]
        return {name: _trimmed(value, *tokens) if name not in self.outputs else value for name, value in found.items()}

    def _given(self, value: Array, feature: Feature) -> Array:
        """The value as the function takes it; pixels of an image are [height, width, 3] there."""
        filled = self._filled(value, sizes_of(feature))
        return filled[0].transpose(1, 2, 0) if feature.kind == "image" else filled

    def _filled(self, value: Array, sizes: tuple[int, ...]) -> Array:
        """The value with zeros after it along the axis of tokens, the second one."""
        rest = sizes[1] - value.shape[1] if value.ndim == len(sizes) > 1 else 0
        if (value.shape[0], *value.shape[2:]) != (sizes[0], *sizes[2:]) or rest < 0:
            raise NotRunError(f"{self._name} is made for {list(sizes)}, the original was given {list(value.shape)}")
        return np.pad(value, [(0, 0), (0, rest), *[(0, 0)] * (value.ndim - 2)]) if rest else value


class CoremlRunner:
    """See `Runner`."""

    rounds_activations = False

    def open(self, path: Path, graph: str, layers: Layers = "hidden") -> CoremlStage:
        return CoremlStage(path, graph, layers)

    def seal_problems(self, bundle: Bundle) -> list[str]:
        return foreign_packages(bundle) + incomplete_packages(bundle)

    def counterparts(self, files: Mapping[str, Path], host: HostMaker | None) -> list[Counterpart]:
        if coreml_vlm.is_vlm(files):
            return coreml_vlm.counterparts(files, host)
        # Each graph of the split is a package, and perhaps one for an older system, of several functions each.
        names = [(name, _FORM.fullmatch(name)) for name in files]
        return [
            Counterpart(name, match[1], partial(self._open_form, files[name], name), formats=FORMATS)
            for name, match in names
            if match is not None and match[1] in files
        ]

    def _open_form(self, path: Path, graph: str, layers: Layers) -> Stage:
        stage = self.open(path, graph, layers)
        if IMAGE not in stage.inputs:
            return stage
        return ImageStage(stage, Bundle.open(path.parents[4], check=None))

    def interface(self, path: Path, graph: str) -> tuple[Specs, Specs]:
        return specs_of(_open(path, graph))


RUNNER = CoremlRunner()


def _open(path: Path, graph: str) -> MilFunction:
    """See `function_of`; `path` is the specification within the package."""
    package = path.parents[2]
    try:
        return function_of(MilModel.open(package), package, graph)
    except BundleError as error:
        raise ParityError(f"{graph} does not load: {error}") from error


def _trimmed(value: Array, fixed: tuple[int | str, ...], tokens: int) -> Array:
    """Without the rows after a text's last token, if the second axis is that of tokens."""
    return value[:, :tokens] if value.ndim > 2 and value.shape[1:2] == fixed else value
