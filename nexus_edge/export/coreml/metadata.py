"""metadata.json: what an app needs to know about the packages before it loads one."""

from typing import Any

from nexus_edge.bundle import TensorSpec
from nexus_edge.export.coreml.family import Function, Package

MACOS = {17: 14, 18: 15}
"""Major version of iOS -> the macOS that came with it."""


def graph_name(package: Package, function: Function) -> str:
    """Under which a function stands in the manifest: the first of a package under the package's own name."""
    return package.file if function is package.functions[0] else f"{package.file}.{function.name}"


def describe(package: Package, graph: str) -> dict[str, Any]:
    """A package's entry in metadata.json.

    Args:
        package: as it was written
        graph: of the model's split, which the package is or is a part of
    """
    return {
        "file": f"{package.file}.mlpackage",
        "graph": graph,
        "ios": package.ios,
        "macos": MACOS[package.ios],
        "compute_units": package.compute_units,
        "note": package.note,
        "functions": [_function(package, function) for function in package.functions],
    }


def _function(package: Package, function: Function) -> dict[str, Any]:
    # Core ML calls the only function of a package "main".
    return {
        "name": function.name if len(package.functions) > 1 else "main",
        "graph": graph_name(package, function),
        "inputs": [
            {**_tensor(tensor), "kind": "image" if tensor.name in function.images else "array"}
            for tensor in function.inputs
        ],
        "outputs": [_tensor(tensor) for tensor in function.outputs],
        "states": [_tensor(tensor) for tensor in function.states],
    }


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
