"""Which packages of a vision-language model are held against which graph of its split."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

from nexus_edge.engines.coreml.parts import CoremlParts
from nexus_edge.engines.coreml.probe.layers import PRECISION, Caller
from nexus_edge.engines.coreml.probe.stages import DecoderStage, EmbeddingStage, VisionStage
from nexus_edge.engines.coreml.probe.variants import FORMATS
from nexus_edge.engines.probes import Counterpart, Layers, Stage
from nexus_edge.errors import BundleError, ParityError

VISION, EMBEDDING, DECODER = "vision_encoder", "embed_tokens", "decoder"
"""The graphs of the split."""


def is_vlm(files: Mapping[str, Path]) -> bool:
    """Whether these graphs of a bundle are a vision-language model's."""
    return EMBEDDING in files


def counterparts(files: Mapping[str, Path]) -> list[Counterpart]:
    """One for each graph, in which the runtime's own cut decides which function takes what: a prompt goes through
    `prefill`, the next token through `decode`. Crops fill the larger call only where a picture has enough of them, so
    each function of the vision encoder is looked at for itself as well."""
    packages = tuple(dict.fromkeys(path.parents[2] for path in files.values()))
    sizes = [name for name in files if name.startswith(f"{VISION}.")]
    parts = cache(partial(_parts, packages))
    found = [
        (VISION, VISION, partial(_vision, parts, None)),
        *((name, VISION, partial(_vision, parts, name.removeprefix(f"{VISION}."))) for name in sizes),
        (EMBEDDING, EMBEDDING, partial(_embedding, parts)),
        (DECODER, DECODER, partial(_decoder, parts)),
    ]
    return [Counterpart(*counterpart, PRECISION, formats=FORMATS) for counterpart in found]


def _parts(packages: tuple[Path, ...]) -> CoremlParts:
    try:
        return CoremlParts.of(packages)
    except BundleError as error:
        raise ParityError(f"the packages do not load: {error}") from error


def _vision(parts: Callable[[], CoremlParts], only: str | None, layers: Layers) -> Stage:
    functions = parts().vision
    chosen = {size: function for size, function in functions.items() if only in (None, function.name)}
    return VisionStage(parts(), chosen, _caller(parts(), layers))


def _embedding(parts: Callable[[], CoremlParts], layers: Layers) -> Stage:
    return EmbeddingStage(parts(), _caller(parts(), layers))


def _decoder(parts: Callable[[], CoremlParts], layers: Layers) -> Stage:
    weights = None if layers == "hidden" else parts().head.package.with_name(f"{DECODER}.safetensors")
    return DecoderStage(parts(), weights, _caller(parts(), layers))


def _caller(parts: CoremlParts, layers: Layers) -> Caller:
    return Caller(parts.head.package.parent, layers)
