"""Which packages of a vision-language model are held against which graph of its split."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

from nexus_edge.engines.coreml.mil import MilFunction
from nexus_edge.engines.coreml.parts import CoremlParts
from nexus_edge.engines.coreml.probe.layers import PRECISION, Caller
from nexus_edge.engines.coreml.probe.stages import DecoderStage, EmbeddingStage, VisionStage, spec_of
from nexus_edge.engines.coreml.probe.variants import FORMATS
from nexus_edge.engines.probes import Counterpart, Layers, Stage
from nexus_edge.errors import BundleError, ParityError
from nexus_edge.interfaces.graph import Interface
from nexus_edge.interfaces.host import HostMaker, VlmHost

VISION, EMBEDDING, DECODER = "vision_encoder", "embed_tokens", "decoder"
"""The graphs of the split."""


def is_vlm(files: Mapping[str, Path]) -> bool:
    """Whether these graphs of a bundle are a vision-language model's."""
    return EMBEDDING in files


def counterparts(files: Mapping[str, Path], host: HostMaker | None) -> list[Counterpart]:
    """One for each graph, in which the runtime's own cut decides which function takes what: a prompt goes through
    `prefill`, the next token through `decode`. Views fill the larger call only where an image has enough of them, so
    each function of the vision encoder is looked at for itself as well."""
    packages = tuple(dict.fromkeys(path.parents[2] for path in files.values()))
    sizes = [name for name in files if name.startswith(f"{VISION}.")]
    parts = cache(partial(_parts, packages))
    found = [
        (VISION, VISION, partial(_vision, parts, host, None)),
        *((name, VISION, partial(_vision, parts, host, name)) for name in sizes),
        (EMBEDDING, EMBEDDING, partial(_embedding, parts, host)),
        (DECODER, DECODER, partial(_decoder, parts)),
    ]
    return [Counterpart(*counterpart, PRECISION, formats=FORMATS) for counterpart in found]


def _parts(packages: tuple[Path, ...]) -> CoremlParts:
    try:
        return CoremlParts.of(packages)
    except BundleError as error:
        raise ParityError(f"the packages do not load: {error}") from error


def _vision(parts: Callable[[], CoremlParts], make: HostMaker | None, only: str | None, layers: Layers) -> Stage:
    chosen = {name: function for name, function in parts().vision.items() if only in (None, name)}
    host = _host(parts(), make, chosen)
    return VisionStage(host, chosen, parts().hidden, _caller(parts(), layers))


def _embedding(parts: Callable[[], CoremlParts], make: HostMaker | None, layers: Layers) -> Stage:
    return EmbeddingStage(parts(), _host(parts(), make, parts().vision), _caller(parts(), layers))


def _host(parts: CoremlParts, make: HostMaker | None, functions: Mapping[str, MilFunction]) -> VlmHost:
    assert make is not None, "only vision-language models have such packages"
    interfaces = {
        name: Interface(*(tuple(spec_of(one) for one in both.values()) for both in (function.inputs, function.outputs)))
        for name, function in functions.items()
    }
    try:
        return make(interfaces, parts.head.package.parent)
    except BundleError as error:
        raise ParityError(str(error)) from error


def _decoder(parts: Callable[[], CoremlParts], layers: Layers) -> Stage:
    weights = None if layers == "hidden" else parts().head.package.with_name(f"{DECODER}.safetensors")
    return DecoderStage(parts(), weights, _caller(parts(), layers))


def _caller(parts: CoremlParts, layers: Layers) -> Caller:
    return Caller(parts.head.package.parent, layers)
