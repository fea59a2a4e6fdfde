"""OpenVINO graphs compiled for a device, and its errors as ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nexus_edge._telemetry import without_telemetry
from nexus_edge.engines.openvino.check import check_graph
from nexus_edge.engines.openvino.settings import CPU, OpenVinoSettings
from nexus_edge.errors import BundleError, InputError

with without_telemetry():
    import openvino as ov

AUTO = "AUTO"
"""The device that chooses among the others."""


def capabilities() -> tuple[str, ...]:
    """What the CPU plugin lists that this machine computes in: FP32, INT8, perhaps BF16 or FP16."""
    return tuple(ov.Core().get_property(CPU, "OPTIMIZATION_CAPABILITIES"))


def compile_graph(
    path: Path,
    settings: OpenVinoSettings,
    threads: int | None,
    change: Callable[[Any], None] = lambda model: None,
    device: str = CPU,
) -> Any:
    """Load a graph (openvino.CompiledModel).

    Args:
        path: of the .xml
        settings: see `OpenVinoSettings`
        threads: that compute; None: one per core
        change: what is done to the model before
        device: see `EngineOptions`; `settings` and `threads` are for the CPU alone

    Raises:
        InputError: there is no such device here.
        BundleError: the file or its .bin is missing, is no valid graph, or cannot run here.
    """
    check_graph(path)
    core = ov.Core()
    _require_device(core, device)
    properties = settings.properties(threads) if device == CPU else {"PERFORMANCE_HINT": "LATENCY"}
    with reported_as_bundle_error(path, "cannot be loaded"):
        model = core.read_model(path)
        change(model)
        return core.compile_model(model, device, properties)


def _require_device(core: Any, device: str) -> None:
    present = core.available_devices
    # With several of a kind, such as GPU.0 and GPU.1, the kind alone means the first.
    if device not in {*present, *(name.partition(".")[0] for name in present), AUTO}:
        raise InputError(f"OpenVINO has no device {device!r} here; it has {', '.join(present)} and {AUTO}")


@contextmanager
def reported_as_bundle_error(path: Path, what: str = "fails when it runs") -> Iterator[None]:
    """Turn OpenVINO's errors, which are all RuntimeErrors, into a BundleError that names the graph's file."""
    try:
        yield
    except RuntimeError as error:
        message = " ".join(str(error).split())
        raise BundleError(f"{path}: {what} ({message[-300:]}); export the bundle again") from error
