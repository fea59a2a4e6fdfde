"""metadata.json: what an app needs to know about the packages before it loads one.

runtimes/coreml-metadata.schema.json describes it. A reader ignores keys that it does not know; a change that would
mislead one raises `FORMAT`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nexus_edge.bundle import Manifest, TensorSpec
from nexus_edge.bundle.hashing import hash_files
from nexus_edge.bundle.identity import KEY
from nexus_edge.targets.coreml.family import Function, Package

FILE = "metadata.json"
FORMAT = 2
MACOS = {17: 14, 18: 15}
"""Major version of iOS -> the macOS that came with it."""


def graph_name(package: Package, function: Function) -> str:
    """Under which a function stands in the manifest: the first of a package under the package's own name."""
    return package.file if function is package.functions[0] else f"{package.file}.{function.name}"


def write_metadata(
    folder: Path, model: Mapping[str, Any], facts: Mapping[str, Any], packages: Iterable[tuple[str, Package]]
) -> None:
    """Describe a folder of packages in its metadata.json.

    Args:
        folder: `coreml/` of a bundle, with everything that an app ships in it
        model: see `about_model`
        facts: see `Family`
        packages: in the order in which data goes through them, each with the graph of the model's split that it is
            or is a part of
    """
    files = _files(folder)
    table = {
        "format": FORMAT,
        "model": model,
        **facts,
        "packages": [_package(package, graph, files) for graph, package in packages],
        "files": files,
    }
    (folder / FILE).write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", "utf-8")


def about_model(manifest: Manifest, manifest_sha256: str) -> dict[str, Any]:
    """What the packages are made of.

    Args:
        manifest: of the bundle
        manifest_sha256: see `nexus_edge.bundle.identity`
    """
    source = manifest.source
    # A hub id says where a model comes from; of a folder only its own name is anybody else's business.
    name = source.checkpoint if source.revision else Path(source.checkpoint).name or source.checkpoint
    return {
        "model_type": manifest.model_type,
        "name": manifest.name,
        "source": name,
        "revision": source.revision,
        "weights": source.weights,
        "license": source.license,
        "toolkit_version": manifest.toolkit_version,
        KEY: manifest_sha256,
    }


def _files(folder: Path) -> list[dict[str, Any]]:
    """What ships, by its path; tensors beside the packages are parity's, not the app's."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".safetensors"]
    return [
        {"path": path.relative_to(folder).as_posix(), "size": info.size, "sha256": info.sha256}
        for path, info in zip(paths, hash_files(paths), strict=True)
    ]


def _package(package: Package, graph: str, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    layers = package.layers
    return {
        "file": f"{package.file}.mlpackage",
        "name": package.file,
        "role": package.role,
        "graph": graph,
        "layers": None if layers is None else [layers.start, layers.stop],
        "ios": package.ios,
        "macos": MACOS[package.ios],
        "compute_units": package.compute_units,
        "note": package.note,
        "bytes": sum(file["size"] for file in files if file["path"].startswith(f"{package.file}.mlpackage/")),
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
