"""An .mlpackage: one function, or several that share their weights."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from nexus_edge.export.coreml.family import Function, Package
from nexus_edge.export.coreml.program import Read, convert, quiet

MODEL = "Data/com.apple.CoreML/model.mlmodel"
"""The program within a package; its weights are in `weights/weight.bin` beside it."""

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
    with tempfile.TemporaryDirectory() as folder:
        parts = {}
        for function, program in zip(package.functions, programs, strict=True):
            model = convert(program, function, package.ios, reader(function))
            part = path if len(programs) == 1 else Path(folder) / f"{function.name}.mlpackage"
            _describe(model._spec, metadata, package.note)
            model.save(str(part))
            (part / _DEBUG).unlink(missing_ok=True)
            parts[function.name] = part
        if len(parts) > 1:
            _join(parts, path, metadata, package.note)


def _join(parts: Mapping[str, Path], path: Path, metadata: Mapping[str, str], note: str) -> None:
    """Packages of one function each to one package, whose functions share what is equal."""
    with quiet():
        import coremltools as ct

        description = ct.utils.MultiFunctionDescriptor()
        for name, part in parts.items():
            description.add_function(str(part), "main", name)
        description.default_function_name = next(iter(parts))
        ct.utils.save_multifunction(description, str(path))
        file = path / MODEL
        spec = ct.utils.load_spec(str(path))
        _describe(spec, metadata, note)
        file.write_bytes(spec.SerializeToString())


def _describe(spec: Any, metadata: Mapping[str, str], note: str) -> None:
    """Say in the program itself where it comes from."""
    about = spec.description.metadata
    about.shortDescription = note
    about.author = "nexus-edge"
    for key, value in metadata.items():
        about.userDefined[f"nexus_edge.{key}"] = value
