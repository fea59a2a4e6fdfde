"""An .mlpackage: one function, or several that share their weights."""

import gc
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from nexus_edge.bundle.identity import PREFIX
from nexus_edge.engines.coreml.mil import MilModel
from nexus_edge.errors import OutputError
from nexus_edge.targets.coreml.family import Function, Package
from nexus_edge.targets.coreml.joining import join
from nexus_edge.targets.coreml.layer_outputs import weight_name
from nexus_edge.targets.coreml.program import Read, convert, tensor_names

_CODES = ".qweight"  # what a quantized layer calls its codes
_DISK = re.compile(r"filesystem error|\bwrit(?:e|ing)\b", re.IGNORECASE)
_DEBUG = "executorch_debug_handle_mapping.json"  # coremltools' notes on torch's nodes, which no app reads


@dataclass(frozen=True)
class About:
    """What a package says about itself, as Xcode shows it.

    Attributes:
        author, license, version: Core ML's own fields
        entries: user-defined ones, by name without `PREFIX`
    """

    author: str
    license: str
    version: str
    entries: Mapping[str, str]


def write_package(
    path: Path,
    package: Package,
    programs: Sequence[ExportedProgram],
    reader: Callable[[Function], Read],
    about: About,
) -> None:
    """Convert a package's functions, one after the other, and save them.

    Args:
        path: of the .mlpackage
        package: what it is to be
        programs: one per function, see `trace`
        reader: from a function to what reads a tensor by its name
        about: see `About`
    """
    # Beside the package and not where the system keeps temporary files, which may be small.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        parts = {function.name: Path(folder) / f"{function.name}.mlpackage" for function in package.functions}
        for function, program in zip(package.functions, programs, strict=True):
            with _disk_errors(path):
                model = convert(program, function, package.ios, reader(function))
                _save(parts[function.name], model, about, package.note)
            del model
            _require_compressed(parts[function.name], program)
            gc.collect()  # a program refers to itself in circles
        if len(parts) == 1:
            shutil.move(next(iter(parts.values())), path)
        else:
            join(parts, path)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """coremltools writes into the system's folder for temporary files first, and says of a full disk what C++ says."""
    try:
        yield
    except (shutil.Error, RuntimeError) as error:
        # shutil tells of each file: from where, to where, and why not.
        reason = " ".join(str(error.args[0][0][-1] if isinstance(error, shutil.Error) else error).split())
        if isinstance(error, RuntimeError) and _DISK.search(reason) is None:
            raise
        raise OutputError(
            f"{path.name} cannot be written ({reason:.160}); it needs space in the bundle's folder and, for a while, "
            f"in {tempfile.gettempdir()}"
        ) from error


def _save(path: Path, model: Any, about: About, note: str) -> None:
    """Save a coremltools model with what it says about itself."""
    metadata = model._spec.description.metadata
    metadata.shortDescription = note
    metadata.author, metadata.license, metadata.versionString = about.author, about.license, about.version
    for key, value in about.entries.items():
        metadata.userDefined[PREFIX + key] = value
    model.save(str(path))
    (path / _DEBUG).unlink(missing_ok=True)


def _require_compressed(path: Path, program: ExportedProgram) -> None:
    """Look into the saved file: coremltools leaves a weight that it cannot compress as it is, and says nothing."""
    quantized = {name.removesuffix(_CODES) for name in tensor_names(program) if name.endswith(_CODES)}
    weights = {weight_name(layer) for layer in quantized}
    plain = {name for name, kind in MilModel.open(path).main.constants.items() if kind == "const"}
    lost = sorted(name for name in plain if name in weights)
    assert not lost, f"{path.name}: {lost[0]} is not compressed in the saved file"
