"""The ONNX Runtime engine: vision encoder, token embedding and decoder of a bundle on the CPU."""

import threading
from typing import Any

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.engines.base import EngineOptions, Floats, Ids, closed
from nexus_edge.engines.memory import give_back_freed_memory
from nexus_edge.engines.onnx.decoder import DecoderGraphs, Graph, OnnxDecoder
from nexus_edge.engines.onnx.session import open_session, reported_as_bundle_error

TARGET = "onnx"
VISION, EMBED, DECODER = "vision_encoder", "embed_tokens", "decoder"


def open_engine(bundle: Bundle, options: EngineOptions) -> "OnnxEngine":
    """The engine of a bundle's `onnx` target; raises BundleError."""
    return OnnxEngine(bundle, options)


class OnnxEngine:
    """See `nexus_edge.engines.base.Engine`. The vision encoder is loaded when the first picture comes.

    A session of ONNX Runtime runs in any number of threads at once; what belongs to one sequence is in `OnnxDecoder`.
    """

    context_length = None  # the cache grows

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        self._paths = {name: bundle.graph(TARGET, name) for name in (VISION, EMBED, DECODER)}
        self._options = options
        self._vision: Any = None
        self._vision_lock = threading.Lock()  # around loading it, and around its memory, which is the largest
        self._decoder: DecoderGraphs | None = DecoderGraphs(
            Graph(self._paths[EMBED], self._open(EMBED)), Graph(self._paths[DECODER], self._open(DECODER))
        )

    def encode_picture(self, pixel_values: Floats, image_sizes: Ids) -> Floats:
        """See `Engine.encode_picture`."""
        with self._vision_lock:
            features = self._run_vision(pixel_values, image_sizes)
            if not self._options.keep_vision:
                give_back_freed_memory()
        return features

    def decoder(self) -> "OnnxDecoder":
        """See `Engine.decoder`."""
        if self._decoder is None:
            raise closed()
        return OnnxDecoder(self._decoder)

    def close(self) -> None:
        """See `Engine.close`."""
        with self._vision_lock:
            self._vision = self._decoder = None
            give_back_freed_memory()

    def _run_vision(self, pixel_values: Floats, image_sizes: Ids) -> Floats:
        session = self._vision or self._open(VISION)
        self._vision = session if self._options.keep_vision else None
        with reported_as_bundle_error(self._paths[VISION]):
            features = session.run(None, {"pixel_values": pixel_values, "image_sizes": image_sizes})[0]
        # A copy, because an output keeps the memory of its whole session alive: 1.3 GB for Phi-3-Vision.
        return np.array(features)

    def _open(self, graph: str) -> Any:
        return open_session(self._paths[graph], self._options.threads)
