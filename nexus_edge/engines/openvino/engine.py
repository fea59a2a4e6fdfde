"""The OpenVINO engine: the graphs that OpenVINO GenAI's VLMPipeline runs, in our own pipeline."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.engines.base import EngineOptions, Floats, Ids, closed
from nexus_edge.engines.openvino import session as openvino_session
from nexus_edge.engines.openvino.decoder import stateful_decoders
from nexus_edge.engines.openvino.paged_decoder import paged_decoders
from nexus_edge.engines.openvino.session import compile_graph, reported_as_bundle_error
from nexus_edge.engines.openvino.settings import CPU, OpenVinoSettings
from nexus_edge.errors import BundleError
from nexus_edge.families import family_named
from nexus_edge.interfaces.family import VlmFamily
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.hd_transform import CROP
from nexus_edge.runtimes.tuned import tuned
from nexus_edge.runtimes.vlm.hd_layout import Separators, lay_out

TARGET = "openvino"
TOWER, PROJECTOR, EMBED, DECODER = "vision_embeddings", "vision_projection", "text_embeddings", "language_model"
CROPS_AT_ONCE = 4  # through the tower; a crop has 577 tokens, enough for every core


class EmbedsDecoder(Protocol):
    """The decoder of a bundle behind its token embedding, and the KV cache of one sequence."""

    def reserve(self, tokens: int, past: int) -> None:
        """Make room in the cache for a sequence of this length; its first `past` tokens stay."""

    def extend(self, embeds: Floats, past: int, rope_length: int) -> Floats:
        """Run tokens behind the first `past` of the cache.

        Args:
            embeds: [1, tokens, hidden]
            past: cached tokens that stay
            rope_length: for which LongRoPE's list is chosen

        Returns:
            logits of the last token, [vocab]; valid until the next call
        """


def open_engine(bundle: Bundle, options: EngineOptions) -> "OpenVinoEngine":
    """The engine of a bundle's `openvino` target; raises BundleError."""
    settings = options.openvino or tuned(bundle, options.threads).openvino
    return OpenVinoEngine(bundle, options, settings.on(openvino_session.capabilities()))


class OpenVinoEngine:
    """See `nexus_edge.engines.base.Engine`. The vision graphs are loaded when the first picture comes.

    Attributes:
        settings: how it computes
    """

    context_length = None  # the cache grows

    def __init__(self, bundle: Bundle, options: EngineOptions, settings: OpenVinoSettings) -> None:
        self._paths = {name: bundle.graph(TARGET, name) for name in (TOWER, PROJECTOR, EMBED, DECODER)}
        self._options, self.settings = options, settings
        self._vision: tuple[Any, Any] | None = None
        self._vision_lock = threading.Lock()  # around loading it, and around its requests
        self._embed = self._compile(EMBED)
        self._open_decoder: Callable[[], EmbedsDecoder] | None = _decoders(
            self._paths[DECODER], settings, options, _has_window(bundle)
        )
        self._separators = separators_of(self._paths[DECODER].parent)

    def encode_picture(self, pixel_values: Floats, image_sizes: Ids) -> Floats:
        """See `Engine.encode_picture`."""
        with self._vision_lock:
            return self._encode_picture(pixel_values, image_sizes)

    def decoder(self) -> "OpenVinoDecoder":
        """See `Engine.decoder`."""
        if self._open_decoder is None:
            raise closed()
        return OpenVinoDecoder(self._embed, self._paths[EMBED], self._open_decoder())

    def close(self) -> None:
        """See `Engine.close`."""
        with self._vision_lock:
            self._vision = self._embed = self._open_decoder = None

    def _encode_picture(self, pixel_values: Floats, image_sizes: Ids) -> Floats:
        vision = self._vision or (self._compile(TOWER), self._compile(PROJECTOR))
        self._vision = vision if self._options.keep_vision else None
        tower, projector = vision
        rows, columns = (int(size) // CROP for size in image_sizes[0])
        crops = pixel_values[0, : 1 + rows * columns]
        pieces = [crops[start : start + CROPS_AT_ONCE] for start in range(0, len(crops), CROPS_AT_ONCE)]
        with reported_as_bundle_error(self._paths[TOWER]):
            features = np.concatenate([tower(piece)[0] for piece in pieces])
        tokens = lay_out(features, (rows, columns), self._separators)
        with reported_as_bundle_error(self._paths[PROJECTOR]):
            return np.array(projector(tokens[None])[0][0])

    def _compile(self, graph: str) -> Any:
        options = self._options
        return compile_graph(self._paths[graph], self.settings, options.threads, device=options.device)


class OpenVinoDecoder:
    """See `nexus_edge.engines.base.Decoder`; the token embedding in a request of its own, and what follows it."""

    def __init__(self, embed: Any, embed_path: Path, decoder: EmbedsDecoder) -> None:
        self._embed, self._embed_path = embed.create_infer_request(), embed_path
        self._decoder = decoder

    def reserve(self, tokens: int, past: int) -> None:
        """See `Decoder.reserve`."""
        self._decoder.reserve(tokens, past)

    def extend(self, ids: Ids, features: Floats | None, past: int, rope_length: int) -> Floats:
        """See `Decoder.extend`."""
        with reported_as_bundle_error(self._embed_path):
            embeds: Floats = self._embed.infer(np.maximum(ids, 0)[None])[0]
        if features is not None:
            embeds = np.array(embeds)
            embeds[0, ids < 0] = features
        return self._decoder.extend(embeds, past, rope_length)


def _decoders(
    path: Path, settings: OpenVinoSettings, options: EngineOptions, window: bool
) -> Callable[[], EmbedsDecoder]:
    """The paged one where it can be: other devices keep no cache in our memory, and it knows no sliding window."""
    if options.device != CPU or window:
        return stateful_decoders(path, settings, options.threads, options.device)
    return paged_decoders(path, settings, options.threads)


def _has_window(bundle: Bundle) -> bool:
    family = family_named(bundle.manifest.model_type)
    return isinstance(family, VlmFamily) and family.has_window(read_json(bundle.root / "processor", "config.json"))


def separators_of(folder: Path) -> Separators:
    """From the config.json beside the graphs; raises BundleError."""
    config = read_json(folder, "config.json")
    try:
        row, view = (np.array(config[name], np.float32).ravel() for name in ("sub_GN", "glb_GN"))
    except (KeyError, ValueError, TypeError) as error:
        raise BundleError(
            f"{folder / 'config.json'}: lacks sub_GN or glb_GN, the separators between crops; export the bundle again"
        ) from error
    return Separators(row, view)
