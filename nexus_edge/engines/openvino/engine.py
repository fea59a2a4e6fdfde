"""The OpenVINO engine: the graphs that OpenVINO GenAI's VLMPipeline runs, in our own pipeline."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.engines.base import EngineOptions, closed
from nexus_edge.engines.interface import graph_file
from nexus_edge.engines.openvino import session as openvino_session
from nexus_edge.engines.openvino.decoder import stateful_decoders
from nexus_edge.engines.openvino.paged_decoder import paged_decoders
from nexus_edge.engines.openvino.session import compile_graph, reported_as_bundle_error
from nexus_edge.engines.openvino.settings import CPU, OpenVinoSettings
from nexus_edge.families import family_named
from nexus_edge.interfaces.engine import Array, Floats, Ids, Positions, Run
from nexus_edge.interfaces.family import VlmFamily
from nexus_edge.processing.folder import read_json
from nexus_edge.runtimes.tuned import tuned

TARGET = "openvino"
EMBED, DECODER = "text_embeddings", "language_model"


class EmbedsDecoder(Protocol):
    """The decoder of a bundle after its token embedding, and the KV cache of one sequence; see `Decoder`."""

    def reserve(self, tokens: int, past: int) -> None:
        """See `Decoder.reserve`."""

    def extend(self, embeds: Floats, past: int, positions: Positions) -> Floats:
        """See `Decoder.extend`."""


def open_engine(bundle: Bundle, options: EngineOptions) -> "OpenVinoEngine":
    """The engine of a bundle's `openvino` target; raises BundleError."""
    settings = options.openvino or tuned(bundle, options.threads).openvino
    return OpenVinoEngine(bundle, options, settings.on(openvino_session.capabilities()))


class OpenVinoEngine:
    """See `nexus_edge.interfaces.engine.Engine`.

    Attributes:
        settings: how it computes
    """

    target = TARGET
    context_length = None  # the cache grows

    def __init__(self, bundle: Bundle, options: EngineOptions, settings: OpenVinoSettings) -> None:
        self._bundle, self._options, self.settings = bundle, options, settings
        self._vision: dict[str, Any] = {}
        self._vision_lock = threading.Lock()  # around loading graphs, and around their requests
        self._embed = self._compile(EMBED)
        self._open_decoder: Callable[[], EmbedsDecoder] | None = _decoders(bundle, settings, options)

    @contextmanager
    def vision(self) -> Iterator[Run]:
        """See `Engine.vision`."""
        with self._vision_lock:
            try:
                yield self._run
            finally:
                if not self._options.keep_vision:
                    self._vision.clear()

    def decoder(self) -> "OpenVinoDecoder":
        """See `Engine.decoder`."""
        if self._open_decoder is None:
            raise closed()
        return OpenVinoDecoder(self._embed, self._bundle.graph(TARGET, EMBED), self._open_decoder())

    def close(self) -> None:
        """See `Engine.close`."""
        with self._vision_lock:
            self._vision, self._embed, self._open_decoder = {}, None, None

    def _run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if graph not in self._vision:
            self._vision[graph] = self._compile(graph)
        with reported_as_bundle_error(self._bundle.graph(TARGET, graph)):
            outputs = self._vision[graph](dict(inputs))
        # Copies, because the next call overwrites what its request gave.
        return {port.any_name: np.array(value) for port, value in outputs.items()}

    def _compile(self, graph: str) -> Any:
        path, declared = graph_file(self._bundle, TARGET, graph), self._bundle.manifest.graphs[TARGET][graph]
        options = self._options
        return compile_graph(path, self.settings, options.threads, device=options.device, declared=declared)


class OpenVinoDecoder:
    """See `nexus_edge.interfaces.engine.Decoder`; the token embedding in a request of its own, and what follows it."""

    def __init__(self, embed: Any, embed_path: Path, decoder: EmbedsDecoder) -> None:
        self._embed, self._embed_path = embed.create_infer_request(), embed_path
        self._decoder = decoder

    def embed(self, ids: Ids) -> Floats:
        """See `Decoder.embed`."""
        with reported_as_bundle_error(self._embed_path):
            return np.array(self._embed.infer(ids[None])[0][0])

    def reserve(self, tokens: int, past: int) -> None:
        """See `Decoder.reserve`."""
        self._decoder.reserve(tokens, past)

    def extend(self, embeds: Floats, past: int, positions: Positions) -> Floats:
        """See `Decoder.extend`."""
        return self._decoder.extend(embeds, past, positions)


def _decoders(bundle: Bundle, settings: OpenVinoSettings, options: EngineOptions) -> Callable[[], EmbedsDecoder]:
    """The paged one where it can be: other devices keep no cache in our memory, and it knows no sliding window."""
    path, declared = graph_file(bundle, TARGET, DECODER), bundle.manifest.graphs[TARGET][DECODER]
    if options.device != CPU or _has_window(bundle):
        return stateful_decoders(path, settings, options.threads, options.device, declared)
    return paged_decoders(path, settings, options.threads, declared)


def _has_window(bundle: Bundle) -> bool:
    family = family_named(bundle.manifest.model_type)
    return isinstance(family, VlmFamily) and family.has_window(read_json(bundle.root / "processor", "config.json"))
