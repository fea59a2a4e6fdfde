"""The ways in which a runtime can be asked to compute, where a target knows several; needs no runtime."""

from dataclasses import replace

from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.parity import formats
from nexus_edge.parity.formats import Formats, of_onnx, of_openvino
from nexus_edge.runtimes import EngineOptions

SHIPPED = OpenVinoSettings()
"""What the runtime takes unless it is told otherwise."""
EXACT = OpenVinoSettings("f32", 0, "f32")
"""Nothing is rounded: what differs from PyTorch now is an error of the graph."""
F32, BF16 = (replace(SHIPPED, precision=name) for name in ("f32", "bf16"))
"""The two that the runtime may take: which one, depends on the CPU and on what `nexus-edge tune` found."""

COREML = "f16"
"""How Core ML computes, and our evaluator in its place."""


def in_words(settings: OpenVinoSettings) -> str:
    """`f32`, or `f32 + int8 inputs + u8 cache`: what reports say, and by what tolerances are found."""
    inputs = ["int8 inputs"] if settings.quantization_group else []
    cache = [f"{settings.cache} cache"] if settings.cache != "f32" else []
    return " + ".join([settings.precision, *inputs, *cache])


def runtime_options(target: str) -> dict[str, EngineOptions]:
    """Precision in words, "" where there is no choice -> the options with which P5 opens the runtime."""
    if target == "coreml":
        return {COREML: EngineOptions(engine=target)}
    if target != "openvino":
        return {"": EngineOptions(engine=target)}
    return {in_words(chosen): EngineOptions(engine=target, openvino=chosen) for chosen in (EXACT, F32, BF16)}


def formats_of(options: EngineOptions) -> Formats:
    """What a runtime opened so rounds beyond what the quantized model in PyTorch does."""
    if options.openvino is not None:
        return of_openvino(options.openvino)
    return formats.COREML if options.engine == "coreml" else of_onnx()


def computes_here(settings: OpenVinoSettings | None) -> bool:
    """Whether this CPU can compute so: one without bf16 takes f32 where it is asked for bf16."""
    if settings is None:
        return True
    from nexus_edge.engines.openvino.session import capabilities

    return settings.on(capabilities()) == settings


def shipped_here() -> OpenVinoSettings:
    """How the runtime computes on this CPU unless it is told otherwise."""
    return SHIPPED if computes_here(SHIPPED) else F32
