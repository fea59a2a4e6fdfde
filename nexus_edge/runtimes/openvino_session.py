"""OpenVINO graphs compiled for the CPU, and its errors as ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openvino as ov

from nexus_edge.errors import BundleError
from nexus_edge.runtimes.openvino_check import check_graph
from nexus_edge.runtimes.openvino_settings import OpenVinoSettings

DEVICE = "CPU"


def compile_graph(
    path: Path, settings: OpenVinoSettings, threads: int | None, change: Callable[[Any], None] = lambda model: None
) -> Any:
    """Load a graph for the CPU (openvino.CompiledModel).

    Args:
        path: of the .xml
        settings: see `OpenVinoSettings`
        threads: that compute; None: one per core
        change: what is done to the model before

    Raises:
        BundleError: the file or its .bin is missing, is no valid graph, or cannot run here.
    """
    check_graph(path)
    with reported_as_bundle_error(path, "cannot be loaded"):
        core = ov.Core()
        model = core.read_model(path)
        change(model)
        return core.compile_model(model, DEVICE, settings.properties(threads))


@contextmanager
def reported_as_bundle_error(path: Path, what: str = "fails when it runs") -> Iterator[None]:
    """Turn OpenVINO's errors, which are all RuntimeErrors, into a BundleError that names the graph's file."""
    try:
        yield
    except RuntimeError as error:
        message = " ".join(str(error).split())
        raise BundleError(f"{path}: {what} ({message[-300:]}); export the bundle again") from error
