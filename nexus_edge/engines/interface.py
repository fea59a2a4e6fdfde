"""What a graph's file declares, held against the manifest: one comparison for every engine and for P0.

An engine asks when it opens a graph. A name, type or size that differs would otherwise show in the first call only, in
the words of a runtime that knows no manifest.
"""

from collections.abc import Mapping
from pathlib import Path

from nexus_edge._words import first_of
from nexus_edge.bundle import Bundle, GraphInfo, TensorSpec
from nexus_edge.bundle.reader import unreadable
from nexus_edge.errors import BundleError

ANY_SIZE = "?"
"""In a graph's interface: a size that varies, where the format has no names for sizes."""

Specs = Mapping[str, TensorSpec]
"""Inputs or outputs of a graph by their names."""


def graph_file(bundle: Bundle, target: str, graph: str) -> Path:
    """The file of a graph, which can be read as well as that of its weights.

    Raises:
        BundleError: the bundle has no such graph, or a file of it is missing, is none, or cannot be read.
    """
    path = bundle.graph(target, graph)
    for name in bundle.manifest.graphs[target][graph].files:
        require_readable(bundle.file(name))
    return path


def require_readable(path: Path) -> None:
    """Raise BundleError if nothing can be read from a file: runtimes say so without its name, or not at all."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise unreadable(path, error) from error


def interface_problems(info: GraphInfo, inputs: Specs, outputs: Specs) -> list[str]:
    """In words, where a graph's inputs or outputs are not what the manifest says."""
    return [*_differences("input", info.inputs, inputs), *_differences("output", info.outputs, outputs)]


def require_interface(path: Path, info: GraphInfo, inputs: Specs, outputs: Specs) -> None:
    """Raise BundleError if the graph at `path` is not the one that the manifest describes."""
    problems = interface_problems(info, inputs, outputs)
    if problems:
        raise BundleError(
            f"{path}: is not the graph that manifest.json describes: {first_of(problems)}; export the bundle again"
        )


def _differences(kind: str, specs: tuple[TensorSpec, ...], values: Specs) -> list[str]:
    found = [f"{kind} {name} is not in the manifest" for name in values if name not in {spec.name for spec in specs}]
    for spec in specs:
        value = values.get(spec.name)
        if value is None:
            found.append(f"{kind} {spec.name} is missing")
        elif not _fits(value, spec):
            found.append(
                f"{kind} {spec.name} is {value.dtype} {list(value.shape)}, not {spec.dtype} {list(spec.shape)}"
            )
    return found


def _fits(value: TensorSpec, spec: TensorSpec) -> bool:
    """Whether a graph's input or output is the manifest's; a size without a name can have any."""
    sizes = zip(value.shape, spec.shape, strict=False)
    same = all(isinstance(said, str) if found == ANY_SIZE else found == said for found, said in sizes)
    return value.dtype == spec.dtype and len(value.shape) == len(spec.shape) and same
