"""The OpenVINO engine of a dual encoder: two graphs on the CPU."""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_edge.bundle import Bundle
from nexus_edge.engines.base import EngineOptions
from nexus_edge.engines.dual import IMAGE, TEXT
from nexus_edge.engines.interface import graph_file
from nexus_edge.engines.openvino import session as openvino_session
from nexus_edge.engines.openvino.session import compile_graph, reported_as_bundle_error
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.errors import BundleError
from nexus_edge.interfaces.engine import Floats, Ids
from nexus_edge.runtimes.tuned import tuned

TARGET = "openvino"


def open_engine(bundle: Bundle, options: EngineOptions) -> "OpenVinoDualEngine":
    """The engine of a bundle's `openvino` target."""
    settings = options.openvino or tuned(bundle, options.threads).openvino
    return OpenVinoDualEngine(bundle, options, settings.on(openvino_session.capabilities()))


class OpenVinoDualEngine:
    """See `nexus_edge.engines.dual.DualEngine`."""

    def __init__(self, bundle: Bundle, options: EngineOptions, settings: OpenVinoSettings) -> None:
        self._bundle, self._options, self._settings = bundle, options, settings
        self._graphs: dict[str, Any] = {}
        self._turn = threading.Lock()  # a compiled graph is called with the one request that it has

    def encode_images(self, pixel_values: Floats) -> Floats:
        """See `DualEngine.encode_images`."""
        return self._run(IMAGE, pixel_values)

    def encode_texts(self, input_ids: Ids) -> Floats:
        """See `DualEngine.encode_texts`."""
        return self._run(TEXT, input_ids)

    def close(self) -> None:
        """See `DualEngine.close`."""
        with self._turn:
            self._graphs.clear()

    def _run(self, graph: str, values: NDArray[Any]) -> Floats:
        path = self._bundle.graph(TARGET, graph)
        with self._turn, reported_as_bundle_error(path):
            embeddings: Floats = np.array(self._compiled(graph)(values)[0])
        if not np.isfinite(embeddings).all():
            raise BundleError(f"{path}: produced NaN; export the bundle again")
        return embeddings

    def _compiled(self, graph: str) -> Any:
        if graph not in self._graphs:
            path, declared = graph_file(self._bundle, TARGET, graph), self._bundle.manifest.graphs[TARGET][graph]
            self._graphs[graph] = compile_graph(
                path, self._settings, self._options.threads, device=self._options.device, declared=declared
            )
        return self._graphs[graph]
