"""ONNX Runtime sessions of graphs that tests make: one thread, and int8 products as the product asks for them."""

from pathlib import Path

import onnxruntime

from nexus_edge.engines.onnx.session import NO_SATURATION


def session_of(model: Path | bytes) -> onnxruntime.InferenceSession:
    """A session of a file or of a serialized onnx.ModelProto."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry(*NO_SATURATION)
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )
