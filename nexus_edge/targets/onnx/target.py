"""The graphs of a bundle's `onnx/` folder, each with its weights file beside it."""

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from nexus_edge.bundle import GraphInfo
from nexus_edge.families import family_named
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.pipeline.weights import WeightsFile
from nexus_edge.recipe import Recipe
from nexus_edge.targets.base import Ingredients
from nexus_edge.targets.onnx.emit import attach_weights, save, tensor_names, translate

FOLDER = "onnx"


def make(recipe: Recipe, specs: Sequence[GraphSpec]) -> "OnnxTarget":
    """See `nexus_edge.targets.base.make_target`."""
    return OnnxTarget(recipe.model_type, specs)


class OnnxTarget:
    """Translated graphs that wait for their weights; see `nexus_edge.targets.base.Target`."""

    repeats_weights = False

    def __init__(self, model_type: str, specs: Sequence[GraphSpec]) -> None:
        self._model_type, self._specs = model_type, specs
        self._models: dict[str, ir.Model] = {}

    def weight_files(self, spec: GraphSpec) -> int:
        """One, see `weights_files`."""
        return 1

    def translate(self, spec: GraphSpec) -> None:
        self._models[spec.name] = translate(spec)

    def weights_files(self, graph: str) -> Sequence[WeightsFile]:
        """Beside the graph and not at the bundle's root: ONNX Runtime reads no external data from outside the folder of
        the .onnx file, not even through a link."""
        return [WeightsFile(_weights(graph), frozenset(tensor_names(self._models[graph])), {})]

    def write(self, root: Path, ingredients: Ingredients) -> dict[str, GraphInfo]:
        infos = {}
        for spec in self._specs:
            model = self._models[spec.name]
            attach_weights(model, ingredients.stored, ingredients.constants)
            file, weights = f"{FOLDER}/{spec.name}.onnx", _weights(spec.name)
            save(model, root / file)
            has_weights = (root / weights).is_file()
            scheme = ingredients.schemes[spec.name]
            infos[spec.name] = GraphInfo(file, spec.inputs, spec.outputs, scheme, weights if has_weights else None)
        for write in family_named(self._model_type).onnx_companions():
            write(root / FOLDER, ingredients)
        return infos


def _weights(graph: str) -> str:
    return f"{FOLDER}/{graph}.safetensors"
