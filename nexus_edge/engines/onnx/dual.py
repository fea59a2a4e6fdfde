"""The ONNX Runtime engine of a dual encoder: two sessions on the CPU."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_edge.bundle import Bundle
from nexus_edge.engines.base import EngineOptions
from nexus_edge.engines.dual import IMAGE, TEXT
from nexus_edge.engines.onnx.session import open_graph, reported_as_bundle_error
from nexus_edge.errors import BundleError
from nexus_edge.interfaces.engine import Floats, Ids

TARGET = "onnx"


def open_engine(bundle: Bundle, options: EngineOptions) -> "OnnxDualEngine":
    """The engine of a bundle's `onnx` target."""
    return OnnxDualEngine(bundle, options)


class OnnxDualEngine:
    """See `nexus_edge.engines.dual.DualEngine`."""

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        self._bundle = bundle
        self._threads = options.threads or os.cpu_count() or 1
        self._sessions: dict[tuple[str, int], Any] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._loading = threading.Lock()

    def encode_images(self, pixel_values: Floats) -> Floats:
        """See `DualEngine.encode_images`.

        As many images as there are threads, or more, run one by one, each on one thread: the activations of one fit
        into a core's cache, and no thread waits for another. That takes a fifth less time than all of them together.
        """
        if len(pixel_values) < self._threads:
            return self._run(IMAGE, "pixel_values", pixel_values, self._threads)
        if self._threads == 1:
            rows = [self._run(IMAGE, "pixel_values", row[None], 1) for row in pixel_values]
        else:
            self._session(IMAGE, 1)  # loaded before the threads ask for it
            rows = list(self._workers().map(lambda row: self._run(IMAGE, "pixel_values", row[None], 1), pixel_values))
        return np.concatenate(rows)

    def encode_texts(self, input_ids: Ids) -> Floats:
        """See `DualEngine.encode_texts`; all at once, because a short text costs what reading the weights costs."""
        return self._run(TEXT, "input_ids", input_ids, self._threads)

    def close(self) -> None:
        """See `DualEngine.close`."""
        with self._loading:
            self._sessions, self._pool = {}, None  # its threads end when nobody refers to it

    def _workers(self) -> ThreadPoolExecutor:
        with self._loading:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads)
            return self._pool

    def _session(self, graph: str, threads: int) -> Any:
        with self._loading:
            if (graph, threads) not in self._sessions:
                self._sessions[graph, threads] = open_graph(self._bundle, graph, threads)
            return self._sessions[graph, threads]

    def _run(self, graph: str, name: str, values: NDArray[Any], threads: int) -> Floats:
        path = self._bundle.graph(TARGET, graph)
        session = self._session(graph, threads)
        with reported_as_bundle_error(path):
            embeddings: Floats = session.run(None, {name: values})[0]
        if not np.isfinite(embeddings).all():
            raise BundleError(f"{path}: produced NaN; export the bundle again")
        return embeddings
