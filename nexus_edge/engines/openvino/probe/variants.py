"""The ways in which OpenVINO's CPU plugin can be asked to compute; needs no openvino."""

from dataclasses import replace

from nexus_edge.engines.base import EngineOptions
from nexus_edge.engines.openvino import ENGINE
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.engines.probes import Variant
from nexus_edge.parity.formats import BFLOAT16, FLOAT32, Formats

SHIPPED = OpenVinoSettings()
"""What the runtime takes unless it is told otherwise."""
EXACT = OpenVinoSettings("f32", 0, "f32")
"""Nothing is rounded: what differs from PyTorch now is an error of the graph."""
F32, BF16 = (replace(SHIPPED, precision=name) for name in ("f32", "bf16"))
"""The two that the runtime may take: which one, depends on the CPU and on what `nexus-edge tune` found."""


def variants() -> list[Variant]:
    """Exact first, then the two that the runtime may take."""
    return [_variant(settings) for settings in (EXACT, F32, BF16)]


def _variant(settings: OpenVinoSettings) -> Variant:
    options = EngineOptions(engine=ENGINE.name, openvino=settings)
    return Variant(in_words(settings), options, formats_of(settings), lambda: computes_here(settings))


def in_words(settings: OpenVinoSettings) -> str:
    """`f32`, or `f32 + int8 inputs + u8 cache`: what reports say, and by what tolerances are found."""
    inputs = ["int8 inputs"] if settings.quantization_group else []
    cache = [f"{settings.cache} cache"] if settings.cache != "f32" else []
    return " + ".join([settings.precision, *inputs, *cache])


def formats_of(settings: OpenVinoSettings) -> Formats:
    """What the CPU plugin rounds. Without VNNI or its equals it rounds less than it is allowed to."""
    return Formats(
        significand=BFLOAT16 if settings.precision == "bf16" else FLOAT32,
        inputs="groups" if settings.quantization_group else "kept",
        group=settings.quantization_group,
        cache=settings.cache != "f32",
    )


def computes_here(settings: OpenVinoSettings) -> bool:
    """Whether this CPU can compute so: one without bf16 takes f32 where it is asked for bf16. Needs openvino."""
    from nexus_edge.engines.openvino.session import capabilities

    return settings.on(capabilities()) == settings


def shipped_here() -> OpenVinoSettings:
    """How the runtime computes on this CPU unless it is told otherwise."""
    return SHIPPED if computes_here(SHIPPED) else F32
