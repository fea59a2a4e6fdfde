"""The packages of a bundle's `coreml/` folder, and the numbers that they were made of."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from torch import Tensor
from torch.export import ExportedProgram

from nexus_edge import __version__
from nexus_edge.bundle import GraphInfo
from nexus_edge.bundle.hashing import hash_together
from nexus_edge.checkpoints import SafetensorsFile
from nexus_edge.export.coreml.family import Family, Function, Package
from nexus_edge.export.coreml.joining import MODEL
from nexus_edge.export.coreml.metadata import describe, graph_name
from nexus_edge.export.coreml.package import write_package
from nexus_edge.export.coreml.program import Read, quiet, tensor_names, trace
from nexus_edge.export.target import Ingredients
from nexus_edge.export.weights import WeightsFile
from nexus_edge.graphs import GraphSpec
from nexus_edge.models.loading import to_torch

FOLDER = "coreml"
FAMILIES = {
    "phi3_v": "nexus_edge.export.coreml.phi3_v",
    "biomedclip": "nexus_edge.export.coreml.biomedclip",
}
"""model_type -> module with its `FAMILY`."""


def make(model_type: str, specs: Sequence[GraphSpec]) -> "CoremlTarget":
    """See `nexus_edge.export.target.make_target`."""
    with quiet():
        import_module("coremltools")  # now, and not after minutes of quantizing
    return CoremlTarget(import_module(FAMILIES[model_type]).FAMILY)


@dataclass(frozen=True)
class _Translated:
    """A package that waits for its weights."""

    package: Package
    programs: tuple[ExportedProgram, ...]


class CoremlTarget:
    """Traced graphs that wait for their weights; see `nexus_edge.export.target.Target`."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._done: dict[str, list[_Translated]] = {}

    def translate(self, spec: GraphSpec) -> None:
        self._done[spec.name] = [
            _Translated(package, tuple(trace(function) for function in package.functions))
            for package in self._family.packages(spec)
        ]

    def weights_files(self, graph: str) -> Sequence[WeightsFile]:
        """One per graph, beside its packages: the quantized numbers that parity compares with.

        A package holds them too, in Core ML's spelling. No app reads this file; beside another target it is a link.
        """
        names = {name for done in self._done[graph] for program in done.programs for name in tensor_names(program)}
        return [WeightsFile(_weights(graph), frozenset(names), {})]

    def write(self, root: Path, ingredients: Ingredients) -> dict[str, GraphInfo]:
        infos: dict[str, GraphInfo] = {}
        described = []
        for graph, translated in self._done.items():
            about = _about(root, graph, ingredients)
            for package, programs in ((done.package, done.programs) for done in translated):
                path = root / FOLDER / f"{package.file}.mlpackage"
                write_package(path, package, programs, _reader(root, ingredients), about)
                for function in package.functions:
                    infos[graph_name(package, function)] = GraphInfo(
                        f"{FOLDER}/{path.name}/{MODEL}",
                        function.inputs,
                        function.outputs,
                        ingredients.schemes[graph],
                        _weights(graph),
                    )
                described.append(describe(package, graph))
        text = json.dumps({"format": 1, "packages": described}, indent=2)
        (root / FOLDER / "metadata.json").write_text(text + "\n", "utf-8")
        # The whole folder goes into an app, which has no use for the rest of a bundle.
        shutil.copytree(root / "processor", root / FOLDER / "processor")
        return infos


def _about(root: Path, graph: str, ingredients: Ingredients) -> dict[str, str]:
    """What a package says about itself. The manifest's hash cannot be in it, since it covers the package; that of the
    quantized weights says as well which export this is."""
    return {
        "version": __version__,
        "graph": graph,
        "scheme": ingredients.schemes[graph],
        "weights_sha256": hash_together([root / _weights(graph)]),
    }


def _reader(root: Path, ingredients: Ingredients) -> Callable[[Function], Read]:
    """From a function to what reads its tensors: computed ones, the model's constants, and those of weights files."""
    files = {path: SafetensorsFile(path) for path in {stored.path for stored in ingredients.stored.values()}}

    def reader(function: Function) -> Read:
        computed = {**ingredients.constants, **function.constants(root / "processor")}

        def read(name: str) -> Tensor:
            if name in computed:
                return computed[name]
            return to_torch(files[ingredients.stored[name].path].read(name))

        return read

    return reader


def _weights(graph: str) -> str:
    return f"{FOLDER}/{graph}.safetensors"
