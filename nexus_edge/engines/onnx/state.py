"""What `nexus-edge doctor` says of ONNX Runtime."""

from nexus_edge._telemetry import without_telemetry
from nexus_edge.engines.onnx import ENGINE
from nexus_edge.interfaces.engine_info import EngineState


def state() -> EngineState:
    """Its version and what it lists."""
    try:
        with without_telemetry():
            import onnxruntime
    except ImportError as error:
        return EngineState(ENGINE.name, False, f"cannot be imported: {error}")
    listed = ", ".join(onnxruntime.get_available_providers())
    said = f"ONNX Runtime {onnxruntime.__version__} lists {listed}; nexus-edge uses the CPU"
    return EngineState(ENGINE.name, True, said)
