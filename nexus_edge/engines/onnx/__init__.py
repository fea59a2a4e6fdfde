"""ONNX Runtime."""

from nexus_edge.interfaces.engine_info import EngineInfo

ENGINE = EngineInfo(
    name="onnx",
    title="ONNX Runtime",
    target="onnx",
    extra="",
    modules={"vlm": "engine", "dual_encoder": "dual"},
    probe="probe.runner",
    piecewise="probe.graphs",
)
