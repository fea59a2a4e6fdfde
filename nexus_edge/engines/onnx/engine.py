"""The ONNX Runtime engine: vision graphs, token embedding and decoder of a bundle on the CPU."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.engines.base import EngineOptions, closed
from nexus_edge.engines.memory import give_back_freed_memory
from nexus_edge.engines.onnx.decoder import DecoderGraphs, Graph, OnnxDecoder
from nexus_edge.engines.onnx.session import open_graph, reported_as_bundle_error
from nexus_edge.interfaces.engine import Array, Run

TARGET = "onnx"
EMBED, DECODER = "embed_tokens", "decoder"


def open_engine(bundle: Bundle, options: EngineOptions) -> "OnnxEngine":
    """The engine of a bundle's `onnx` target; raises BundleError."""
    return OnnxEngine(bundle, options)


class OnnxEngine:
    """See `nexus_edge.interfaces.engine.Engine`.

    A session of ONNX Runtime runs in any number of threads at once; what belongs to one sequence is in `OnnxDecoder`.
    """

    target = TARGET
    context_length = None  # the cache grows

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        self._bundle, self._options = bundle, options
        self._vision: dict[str, Any] = {}
        self._vision_lock = threading.Lock()  # around loading graphs, and around their memory, which is the largest
        self._decoder: DecoderGraphs | None = DecoderGraphs(self._graph(EMBED), self._graph(DECODER))

    @contextmanager
    def vision(self) -> Iterator[Run]:
        """See `Engine.vision`."""
        with self._vision_lock:
            try:
                yield self._run
            finally:
                if not self._options.keep_vision:
                    self._vision.clear()
                    give_back_freed_memory()

    def decoder(self) -> "OnnxDecoder":
        """See `Engine.decoder`."""
        if self._decoder is None:
            raise closed()
        return OnnxDecoder(self._decoder)

    def close(self) -> None:
        """See `Engine.close`."""
        with self._vision_lock:
            self._vision, self._decoder = {}, None
            give_back_freed_memory()

    def _run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if graph not in self._vision:
            self._vision[graph] = self._open(graph)
        session = self._vision[graph]
        names = [node.name for node in session.get_outputs()]
        with reported_as_bundle_error(self._bundle.graph(TARGET, graph)):
            outputs = session.run(names, dict(inputs))
        # Copies, because an output keeps the memory of its whole session alive: 1.3 GB for Phi-3-Vision.
        return {name: np.array(output) for name, output in zip(names, outputs, strict=True)}

    def _graph(self, name: str) -> Graph:
        path = self._bundle.graph(TARGET, name)
        return Graph(path, self._open(name))

    def _open(self, graph: str) -> Any:
        return open_graph(self._bundle, graph, self._options.threads)
