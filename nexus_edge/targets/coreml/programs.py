"""What the manifest says of packages, so that an app knows them before it loads one."""

from nexus_edge.bundle import GraphInfo, ProgramInfo
from nexus_edge.targets.coreml import TARGET
from nexus_edge.targets.coreml.family import Function, Package
from nexus_edge.targets.coreml.joining import MODEL

FOLDER = TARGET.name
MACOS = {17: 14, 18: 15}
"""Major version of iOS -> the macOS that came with it."""


def graph_name(package: Package, function: Function) -> str:
    """Under which a function stands in the manifest: the first of a package under the package's own name."""
    return package.file if function is package.functions[0] else f"{package.file}.{function.name}"


def package_graphs(graph: str, package: Package, scheme: str, weights: str, identity: str) -> dict[str, GraphInfo]:
    """A package's functions as graphs of the manifest, by their names.

    Args:
        graph: of the model's split that the package is, or is a part of
        package: in the folder `FOLDER`
        scheme: in words, how the weights are stored
        weights: the safetensors file of the numbers that parity compares with
        identity: of the bundle, which the package carries, too
    """
    folder, layers = f"{FOLDER}/{package.file}.mlpackage", package.layers
    return {
        graph_name(package, function): GraphInfo(
            f"{folder}/{MODEL}",
            function.inputs,
            function.outputs,
            scheme,
            weights,
            ProgramInfo(
                package=folder,
                # Core ML calls the only function of a package "main".
                function=function.name if len(package.functions) > 1 else "main",
                role=package.role,
                part_of=graph,
                layers=None if layers is None else (layers.start, layers.stop),
                ios=package.ios,
                macos=MACOS[package.ios],
                compute_units=package.compute_units,
                note=package.note,
                images=tuple(sorted(function.images)),
                states=function.states,
                identity=identity,
            ),
        )
        for function in package.functions
    }
