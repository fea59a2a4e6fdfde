"""The graphs of a bundle's `onnx/` folder, each with its weights file beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from nexus_edge.bundle import GraphInfo
from nexus_edge.families import family_named
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.interfaces.target import CompanionWriter, ExportedModel, StoredWeights, WeightsFile
from nexus_edge.recipe import Recipe
from nexus_edge.targets.onnx.emit import attach_weights, save, tensor_names, translate

FOLDER = "onnx"


def make(recipe: Recipe, specs: Sequence[GraphSpec]) -> "OnnxTarget":
    """See `nexus_edge.targets.make_target`."""
    return OnnxTarget(family_named(recipe.model_type).onnx_companions())


@dataclass(frozen=True)
class OnnxGraph:
    """A graph that waits for its weights; see `nexus_edge.interfaces.target.Translated`."""

    spec: GraphSpec
    model: ir.Model

    @property
    def graph(self) -> str:
        return self.spec.name

    @property
    def files(self) -> Sequence[WeightsFile]:
        """Beside the graph and not at the bundle's root: ONNX Runtime reads no external data from outside the folder of
        the .onnx file, not even through a link."""
        return [WeightsFile(_weights(self.graph), frozenset(tensor_names(self.model)), {})]


class OnnxTarget:
    """See `nexus_edge.interfaces.target.Target`."""

    def __init__(self, companions: Sequence[CompanionWriter]) -> None:
        self.companions = companions

    def weight_files(self, spec: GraphSpec) -> int:
        """One, see `OnnxGraph.files`."""
        return 1

    def translate(self, spec: GraphSpec) -> OnnxGraph:
        return OnnxGraph(spec, translate(spec))

    def write(
        self, root: Path, graphs: Sequence[OnnxGraph], weights: StoredWeights, exported: ExportedModel
    ) -> dict[str, GraphInfo]:
        (root / FOLDER).mkdir(exist_ok=True)
        infos = {}
        for translated in graphs:
            spec, name = translated.spec, translated.graph
            attach_weights(translated.model, weights.tensors, weights.constants)
            file, beside = f"{FOLDER}/{name}.onnx", _weights(name)
            save(translated.model, root / file)
            has_weights = (root / beside).is_file()
            scheme = weights.schemes[name]
            infos[name] = GraphInfo(file, spec.inputs, spec.outputs, scheme, beside if has_weights else None)
        return infos


def _weights(graph: str) -> str:
    return f"{FOLDER}/{graph}.safetensors"
