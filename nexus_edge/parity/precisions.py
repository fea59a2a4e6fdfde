"""The ways in which a runtime can be asked to compute, where a target knows several; needs no runtime."""

from dataclasses import replace

from nexus_edge.runtimes import EngineOptions
from nexus_edge.runtimes.openvino_settings import OpenVinoSettings

EXACT = OpenVinoSettings("f32", 0, "f32")
"""Nothing is rounded: what differs from PyTorch now is an error of the graph."""
BF16 = OpenVinoSettings()
"""What the runtime takes unless it is told otherwise, where the CPU has bf16."""
SHIPPED = replace(BF16, precision="f32")
"""What becomes of that on every other CPU, and what `nexus-edge tune` may choose."""

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
    return {in_words(chosen): EngineOptions(engine=target, openvino=chosen) for chosen in (EXACT, SHIPPED, BF16)}


def computes_here(options: EngineOptions) -> bool:
    """Whether this CPU can compute so: one without bf16 computes in float32 when it is asked for bf16."""
    if options.openvino is None or options.openvino.precision != "bf16":
        return True
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
