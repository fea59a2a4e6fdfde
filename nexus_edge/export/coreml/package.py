"""An .mlpackage: one function, or several that share their weights."""

import gc
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from nexus_edge.export.coreml.family import Function, Package
from nexus_edge.export.coreml.joining import join
from nexus_edge.export.coreml.program import Read, convert

_DEBUG = "executorch_debug_handle_mapping.json"  # coremltools' notes on torch's nodes, which no app reads


def write_package(
    path: Path,
    package: Package,
    programs: Sequence[ExportedProgram],
    reader: Callable[[Function], Read],
    metadata: Mapping[str, str],
) -> None:
    """Convert a package's functions, one after the other, and save them.

    Args:
        path: of the .mlpackage
        package: what it is to be
        programs: one per function, see `trace`
        reader: from a function to what reads a tensor by its name
        metadata: what is said about the model within it
    """
    # Beside the package and not where the system keeps temporary files, which may be small.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        parts = {function.name: Path(folder) / f"{function.name}.mlpackage" for function in package.functions}
        for function, program in zip(package.functions, programs, strict=True):
            _save(parts[function.name], convert(program, function, package.ios, reader(function)), metadata, package)
            gc.collect()  # a program refers to itself in circles
        if len(parts) == 1:
            shutil.move(next(iter(parts.values())), path)
        else:
            join(parts, path)


def _save(path: Path, model: Any, metadata: Mapping[str, str], package: Package) -> None:
    """Save a coremltools model with what it says about itself."""
    _describe(model._spec, metadata, package.note)
    model.save(str(path))
    (path / _DEBUG).unlink(missing_ok=True)


def _describe(spec: Any, metadata: Mapping[str, str], note: str) -> None:
    """Say in the program itself where it comes from."""
    about = spec.description.metadata
    about.shortDescription = note
    about.author = "nexus-edge"
    for key, value in metadata.items():
        about.userDefined[f"nexus_edge.{key}"] = value
