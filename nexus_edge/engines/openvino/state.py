"""What `nexus-edge doctor` says of OpenVINO."""

from nexus_edge._telemetry import without_telemetry
from nexus_edge.engines.openvino import ENGINE
from nexus_edge.interfaces.engine_info import EngineState


def state() -> EngineState:
    """Its version, and each device with what it can compute."""
    try:
        with without_telemetry():
            import openvino
    except ImportError:
        return EngineState(ENGINE.name, False, f"not installed: pip install 'nexus-edge[{ENGINE.extra}]'")
    core = openvino.Core()
    devices = []
    for name in core.available_devices:
        able = ", ".join(core.get_property(name, "OPTIMIZATION_CAPABILITIES"))
        devices.append(f"{name} {core.get_property(name, 'FULL_DEVICE_NAME')} ({able})")
    version = openvino.get_version().partition("-")[0]
    said = f"OpenVINO {version} lists {'; '.join(devices) or 'no device'}"
    return EngineState(ENGINE.name, bool(devices), said)
