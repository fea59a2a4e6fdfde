"""The packages of a bundle's `coreml/` folder, and the numbers that they were made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from torch import Tensor
from torch.export import ExportedProgram

from nexus_edge.bundle import GraphInfo, Manifest
from nexus_edge.bundle.hashing import hash_files, hash_together
from nexus_edge.bundle.identity import KEY, identity
from nexus_edge.checkpoints import SafetensorsFile
from nexus_edge.checkpoints.tensors import to_torch
from nexus_edge.families import family_named
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.interfaces.target import CompanionWriter, ExportedModel, StoredWeights, WeightsFile
from nexus_edge.recipe import Recipe
from nexus_edge.targets.coreml import TARGET
from nexus_edge.targets.coreml.family import Function, Package, StaticSplit
from nexus_edge.targets.coreml.package import About, write_package
from nexus_edge.targets.coreml.program import Read, quiet, tensor_names, trace
from nexus_edge.targets.coreml.programs import FOLDER, package_graphs
from nexus_edge.targets.coreml.schemes import require_ios


def make(recipe: Recipe, specs: Sequence[GraphSpec]) -> "CoremlTarget":
    """See `nexus_edge.targets.make_target`."""
    with quiet():
        import_module("coremltools")  # now, and not after minutes of quantizing
    family = family_named(recipe.model_type).static_split()
    if recipe.deployment is not None:
        require_ios(recipe, specs, family)
    return CoremlTarget(family, TARGET.deployments[recipe.deployment] if recipe.deployment else None)


@dataclass(frozen=True)
class _TracedPackage:
    """A package that waits for its weights."""

    package: Package
    programs: tuple[ExportedProgram, ...]


@dataclass(frozen=True)
class CoremlPackages:
    """The packages that a graph of the split becomes; see `nexus_edge.interfaces.target.Translated`."""

    graph: str
    packages: tuple[_TracedPackage, ...]

    @property
    def files(self) -> Sequence[WeightsFile]:
        """One per graph, beside its packages: the quantized numbers that parity compares with.

        A package holds them too, in Core ML's spelling. No app reads this file; beside another target it is a link.
        """
        names = {name for traced in self.packages for program in traced.programs for name in tensor_names(program)}
        return [WeightsFile(_weights(self.graph), frozenset(names), {})]


class CoremlTarget:
    """See `nexus_edge.interfaces.target.Target`."""

    companions: Sequence[CompanionWriter] = ()

    def __init__(self, family: StaticSplit, ios: int | None) -> None:
        self._family, self._ios = family, ios

    def weight_files(self, spec: GraphSpec) -> int:
        """One, beside the packages."""
        return 1

    def translate(self, spec: GraphSpec) -> CoremlPackages:
        packages = self._family.packages(spec, self._ios)
        return CoremlPackages(spec.name, tuple(_TracedPackage(found, _traced(found)) for found in packages))

    def write(
        self, root: Path, graphs: Sequence[CoremlPackages], weights: StoredWeights, exported: ExportedModel
    ) -> dict[str, GraphInfo]:
        infos: dict[str, GraphInfo] = {}
        (root / FOLDER).mkdir(exist_ok=True)
        bundle = _identity(root, exported.manifest)
        for whole in graphs:
            scheme = weights.schemes[whole.graph]
            about = _about(root, whole.graph, scheme, exported.manifest, bundle)
            for traced in whole.packages:
                path = root / FOLDER / f"{traced.package.file}.mlpackage"
                write_package(path, traced.package, traced.programs, _reader(root, weights), about)
                infos |= package_graphs(whole.graph, traced.package, scheme, _weights(whole.graph), bundle)
        return infos


def _traced(package: Package) -> tuple[ExportedProgram, ...]:
    return tuple(trace(function) for function in package.functions)


def _identity(root: Path, manifest: Manifest) -> str:
    """The hash by which the packages know their bundle; all files that it covers are there."""
    paths = [*(root / "processor").iterdir(), *(root / FOLDER).glob("*.safetensors")]
    files = {path.relative_to(root).as_posix(): info for path, info in zip(paths, hash_files(paths), strict=True)}
    return identity(manifest.with_files(files), FOLDER)


def _about(root: Path, graph: str, scheme: str, manifest: Manifest, bundle: str) -> About:
    """What a package says about itself.

    Args:
        root: of the bundle
        graph: that the package is, or is a part of
        scheme: in words, how its weights are stored
        manifest: as far as it is known before graphs are written
        bundle: the hash by which the packages know it
    """
    source = manifest.source
    # A hub id says where a model comes from; of a folder only its own name is anybody else's business.
    name = source.checkpoint if source.revision else Path(source.checkpoint).name or source.checkpoint
    return About(
        author=f"{name}, exported by nexus-edge",
        license=source.license or "not stated by the checkpoint",
        version=source.revision or manifest.toolkit_version,
        entries={
            KEY: bundle,
            "source": name,
            "weights": source.weights,
            "license": source.license or "unknown",
            "revision": source.revision or "none",
            "version": manifest.toolkit_version,
            "graph": graph,
            "scheme": scheme,
            "weights_sha256": hash_together([root / _weights(graph)]),
        },
    )


def _reader(root: Path, weights: StoredWeights) -> Callable[[Function], Read]:
    """From a function to what reads its tensors: computed ones, the model's constants, and those of weights files."""
    files = {path: SafetensorsFile(path) for path in {stored.path for stored in weights.tensors.values()}}

    def reader(function: Function) -> Read:
        computed = {**weights.constants, **function.constants(root / "processor")}

        def read(name: str) -> Tensor:
            if name in computed:
                return computed[name]
            return to_torch(files[weights.tensors[name].path].read(name))

        return read

    return reader


def _weights(graph: str) -> str:
    return f"{FOLDER}/{graph}.safetensors"
