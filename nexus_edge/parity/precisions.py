"""The ways in which the engine of a target can be asked to compute; needs no runtime."""

from nexus_edge.axes import engine_module, engines
from nexus_edge.engines.probes import Variant, probed
from nexus_edge.interfaces.engine_info import EngineInfo
from nexus_edge.parity.formats import Formats
from nexus_edge.runtimes import EngineOptions


def runtime_options(target: str) -> dict[str, EngineOptions]:
    """Precision in words, "" where there is no choice -> the options with which P5 opens the runtime."""
    info = probed(target)
    return {} if info is None else {variant.precision: variant.options for variant in _variants(info)}


def formats_of(options: EngineOptions) -> Formats:
    """What a runtime opened with some of `runtime_options` rounds beyond what the quantized model in PyTorch does."""
    return _variant(options).formats


def computes_here(options: EngineOptions) -> bool:
    """Whether this machine computes so if it is asked with some of `runtime_options`."""
    return _variant(options).here()


def _variant(options: EngineOptions) -> Variant:
    return next(variant for variant in _variants(engines()[options.engine or ""]) if variant.options == options)


def _variants(info: EngineInfo) -> list[Variant]:
    found: list[Variant] = engine_module(info, info.variants).variants()
    return found
