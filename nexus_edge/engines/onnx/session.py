"""ONNX Runtime sessions with the settings that measured best, and its errors as ours."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle import Bundle, TensorSpec
from nexus_edge.engines.interface import ANY_SIZE, Specs, graph_file, require_interface
from nexus_edge.engines.onnx import ENGINE
from nexus_edge.errors import BundleError

with without_telemetry():
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

ERRORS: tuple[type[Exception], ...] = (
    # Its exceptions have no base of their own, and which one it takes is no guide: an error number of the system
    # comes as the exception that has the same number.
    *(kind for kind in vars(ort_errors).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,  # with IO binding
    ValueError,  # inputs that the graph does not have, and names in a damaged graph
)
"""Everything that ONNX Runtime raises."""

TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
}
"""ONNX Runtime's name of a type -> the manifest's."""

NO_SATURATION = ("session.x64quantprecision", "1")
"""Pairs of int8 products are summed in 16 bits on x86 without VNNI, where they saturate: embeddings are off by a tenth.
With this ONNX Runtime takes another kernel there, and changes nothing anywhere else."""

SHARED_ZERO_POINT = "Attempt to replace the existing tensor"
"""Of ONNX Runtime 1.32's message where that kernel cannot be taken: in graphs of earlier versions, all products share
their zero points."""

ONLY_FATAL = 4  # log severity: errors are raised as well, and warnings about unused initializers help nobody here


def open_graph(bundle: Bundle, graph: str, threads: int | None) -> Any:
    """A graph of a bundle's `onnx` target, see `open_session`.

    Raises:
        BundleError: as `open_session`, or its file is not the graph that the manifest describes.
    """
    path = graph_file(bundle, ENGINE.target, graph)
    session = open_session(path, threads)
    with reported_as_bundle_error(path, "cannot be loaded"):
        inputs, outputs = specs_of(session.get_inputs()), specs_of(session.get_outputs())
    require_interface(path, bundle.manifest.graphs[ENGINE.target][graph], inputs, outputs)
    return session


def open_session(path: Path, threads: int | None = None) -> Any:
    """Load a graph for the CPU.

    Weights are mapped from the file beside it, but MatMulNBits lays them out anew for its kernels ("prepacking"), in
    memory of its own: 0.5 + 8 / group size bytes per 4-bit weight, and without it decode is 100 times slower.

    Raises:
        BundleError: the file is missing, is no valid graph, or does not fit its weights.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ONLY_FATAL
    if threads is not None:
        options.intra_op_num_threads = threads
    # Threads that wait for the next operator spin this long (microseconds) before they sleep: enough to bridge the gaps
    # of a decode step, which 0 makes 5 % slower, while the default of spinning on halves the speed beside other work.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
    options.add_session_config_entry(*NO_SATURATION)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except ERRORS as error:
        if SHARED_ZERO_POINT in str(error):
            raise BundleError(
                f"{path}: its int8 products would be wrong on this CPU, which has no VNNI; export the bundle again "
                "with this version, or run it on another CPU"
            ) from error
        raise _as_bundle_error(path, "cannot be loaded", error) from error


@contextmanager
def reported_as_bundle_error(path: Path, what: str = "fails when it runs") -> Iterator[None]:
    """Turn ONNX Runtime's errors into a BundleError that names the graph's file."""
    try:
        yield
    except ERRORS as error:
        raise _as_bundle_error(path, what, error) from error


def _as_bundle_error(path: Path, what: str, error: Exception) -> BundleError:
    message = " ".join(str(error).split()).rsplit("[ONNXRuntimeError] : ", 1)[-1]
    return BundleError(f"{path}: {what} ({message:.300}); export the bundle again")


def specs_of(nodes: Iterable[Any]) -> Specs:
    """Inputs or outputs (onnxruntime.NodeArg) by name."""
    return {
        node.name: TensorSpec(
            node.name,
            TYPES.get(node.type, node.type),
            tuple(ANY_SIZE if size is None else size for size in node.shape),
        )
        for node in nodes
    }


def fixed_size(nodes: Sequence[Any], name: str, axis: int, path: Path) -> int:
    """Size of an input or output (onnxruntime.NodeArg) along an axis; raises BundleError if it is not in the graph."""
    for node in nodes:
        if node.name == name and axis < len(node.shape) and isinstance(node.shape[axis], int):
            return int(node.shape[axis])
    raise BundleError(f"{path}: has no {name} with a fixed size along axis {axis}; export the bundle again")
