"""OpenVINO graphs compiled for a device, and its errors as ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle import GraphInfo, TensorSpec
from nexus_edge.engines.interface import ANY_SIZE, Specs, require_interface
from nexus_edge.engines.openvino.check import check_graph
from nexus_edge.engines.openvino.settings import CPU, OpenVinoSettings
from nexus_edge.errors import BundleError, InputError

with without_telemetry():
    import openvino as ov

AUTO = "AUTO"
"""The device that chooses among the others."""

TYPES = {
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    **{f"{kind[0]}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    "boolean": "bool",
}
"""OpenVINO's name of an element type -> the manifest's; its own numpy type for bf16 is float16."""

ANY_RANK = ("any number of sizes",)
"""Of a port that leaves open how many it has."""


def capabilities() -> tuple[str, ...]:
    """What the CPU plugin lists that this machine computes in: FP32, INT8, perhaps BF16 or FP16."""
    return tuple(ov.Core().get_property(CPU, "OPTIMIZATION_CAPABILITIES"))


def compile_graph(
    path: Path,
    settings: OpenVinoSettings,
    threads: int | None,
    change: Callable[[Any], None] = lambda model: None,
    device: str = CPU,
    declared: GraphInfo | None = None,
) -> Any:
    """Load a graph (openvino.CompiledModel).

    Args:
        path: of the .xml
        settings: see `OpenVinoSettings`
        threads: that compute; None: one per core
        change: what is done to the model before
        device: see `EngineOptions`; `settings` and `threads` are for the CPU alone
        declared: what the manifest says of it; None: it is of no bundle, or somebody else compares

    Raises:
        InputError: there is no such device here.
        BundleError: the file or its .bin is missing, is no valid graph, is not the one that is `declared`, or cannot
            run here.
    """
    check_graph(path)
    core = ov.Core()
    _require_device(core, device)
    properties = settings.properties(threads) if device == CPU else {"PERFORMANCE_HINT": "LATENCY"}
    with reported_as_bundle_error(path, "cannot be loaded"):
        model = core.read_model(path)
        if declared is not None:
            require_interface(path, declared, specs_of(model.inputs), specs_of(model.outputs))
        change(model)
        return core.compile_model(model, device, properties)


def specs_of(ports: Any) -> Specs:
    """Inputs or outputs (openvino.Output) by name; a graph knows no names of sizes."""
    specs = {}
    for port in ports:
        sizes, kind = port.get_partial_shape(), port.get_element_type().get_type_name()
        shape: tuple[int | str, ...] = ANY_RANK
        if not sizes.rank.is_dynamic:
            shape = tuple(ANY_SIZE if size.is_dynamic else size.get_length() for size in sizes)
        specs[port.any_name] = TensorSpec(port.any_name, TYPES.get(kind, kind), shape)
    return specs


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
