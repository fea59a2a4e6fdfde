"""The settings of OpenVINO that `nexus-edge tune` measures."""

from nexus_edge.engines.openvino import session
from nexus_edge.engines.openvino.settings import OpenVinoSettings

SETTINGS = (
    OpenVinoSettings("bf16", 128, "u8"),
    OpenVinoSettings("bf16", 64, "u8"),
    OpenVinoSettings("f32", 128, "u8"),
    OpenVinoSettings("f32", 64, "u8"),
    OpenVinoSettings("f32", 32, "u8"),
)
"""Those that were the fastest for some model on some machine."""


def settings_here() -> tuple[OpenVinoSettings, ...]:
    """Those of `SETTINGS` that this CPU computes in, and would not only emulate."""
    return tuple(dict.fromkeys(settings.on(session.capabilities()) for settings in SETTINGS))
