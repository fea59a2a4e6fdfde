"""ONNX Runtime sessions with the settings that measured best, and its errors as ours."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nexus_edge._telemetry import without_telemetry
from nexus_edge.errors import BundleError

with without_telemetry():
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

ERRORS = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,  # with IO binding
    ValueError,  # inputs that the graph does not have, and names in a damaged graph
)
"""Everything that ONNX Runtime raises."""

NO_SATURATION = ("session.x64quantprecision", "1")
"""Pairs of int8 products are summed in 16 bits on x86 without VNNI, where they saturate: embeddings are off by a tenth.
With this ONNX Runtime takes another kernel there, and changes nothing anywhere else."""

SHARED_ZERO_POINT = "Attempt to replace the existing tensor"
"""Of ONNX Runtime 1.32's message where that kernel cannot be taken: in graphs of earlier versions, all products share
their zero points."""

ONLY_FATAL = 4  # log severity: errors are raised as well, and warnings about unused initializers help nobody here


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


def fixed_size(nodes: Sequence[Any], name: str, axis: int, path: Path) -> int:
    """Size of an input or output (onnxruntime.NodeArg) along an axis; raises BundleError if it is not in the graph."""
    for node in nodes:
        if node.name == name and axis < len(node.shape) and isinstance(node.shape[axis], int):
            return int(node.shape[axis])
    raise BundleError(f"{path}: has no {name} with a fixed size along axis {axis}; export the bundle again")
