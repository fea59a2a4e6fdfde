"""Which function of a package a graph of the manifest is, and what it declares."""

from collections.abc import Iterable
from pathlib import Path

from nexus_edge.bundle import Bundle, TensorSpec
from nexus_edge.engines.coreml import ENGINE
from nexus_edge.engines.coreml.mil import Feature, MilFunction, MilModel
from nexus_edge.engines.coreml.parts import package_of
from nexus_edge.engines.interface import Specs, graph_file, require_interface
from nexus_edge.errors import BundleError


def open_packages(bundle: Bundle, graphs: Iterable[str]) -> dict[Path, MilModel]:
    """The packages that hold these graphs of a bundle's `coreml` target, each read once.

    Raises:
        BundleError: a package is broken, or a graph is not the function that the manifest describes.
    """
    opened: dict[Path, MilModel] = {}
    for graph in graphs:
        graph_file(bundle, ENGINE.target, graph)
        package = package_of(bundle, graph)
        if package not in opened:
            opened[package] = MilModel.open(package)
        function = function_of(opened[package], package, graph)
        require_interface(package, bundle.manifest.graphs[ENGINE.target][graph], *specs_of(function))
    return opened


def function_of(model: MilModel, package: Path, graph: str) -> MilFunction:
    """The function that a graph of the manifest is: `<package>`, or `<package>.<function>`; raises BundleError."""
    name = graph.removeprefix(package.stem).removeprefix(".") or model.default
    if name not in model.functions:
        raise BundleError(f"{package}: has no function {name}, which manifest.json calls {graph}")
    return model.functions[name]


def specs_of(function: MilFunction) -> tuple[Specs, Specs]:
    """Inputs and outputs as the manifest has them: an image is [1, channels, height, width], as in the program."""
    inputs = {
        name: TensorSpec(name, "float32" if feature.kind == "image" else feature.dtype, sizes_of(feature))
        for name, feature in function.inputs.items()
    }
    outputs = {name: TensorSpec(name, feature.dtype, sizes_of(feature)) for name, feature in function.outputs.items()}
    return inputs, outputs


def sizes_of(feature: Feature) -> tuple[int, ...]:
    """Sizes of a feature; of one that may vary the smallest."""
    sizes = tuple(size if isinstance(size, int) else size[0] for size in feature.shape)
    return (1, 1 if feature.colours.startswith("GRAY") else 3, *sizes) if feature.kind == "image" else sizes
