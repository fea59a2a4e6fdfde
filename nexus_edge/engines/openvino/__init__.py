"""OpenVINO."""

from nexus_edge.interfaces.engine_info import EngineInfo

ENGINE = EngineInfo(
    name="openvino",
    title="OpenVINO",
    target="openvino",
    extra="openvino",
    modules={"vlm": "engine", "dual_encoder": "dual"},
    devices=True,
    tuning="tuning",
    probe="probe.runner",
    piecewise="probe.graphs",
)
