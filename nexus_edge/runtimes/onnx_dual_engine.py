"""The ONNX Runtime engine of a dual encoder: two sessions on the CPU."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError
from nexus_edge.runtimes.dual_engine import IMAGE, TEXT
from nexus_edge.runtimes.engine import EngineOptions, Floats, Ids
from nexus_edge.runtimes.onnx_session import open_session, reported_as_bundle_error

TARGET = "onnx"


def open_engine(bundle: Bundle, options: EngineOptions) -> "OnnxDualEngine":
    """The engine of a bundle's `onnx` target."""
    return OnnxDualEngine(bundle, options)


class OnnxDualEngine:
    """See `nexus_edge.runtimes.dual_engine.DualEngine`."""

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        self._bundle = bundle
        self._options = options
        self._sessions: dict[str, Any] = {}

    def encode_images(self, pixel_values: Floats) -> Floats:
        """See `DualEngine.encode_images`."""
        return self._run(IMAGE, "pixel_values", pixel_values)

    def encode_texts(self, input_ids: Ids) -> Floats:
        """See `DualEngine.encode_texts`."""
        return self._run(TEXT, "input_ids", input_ids)

    def _run(self, graph: str, name: str, values: NDArray[Any]) -> Floats:
        path = self._bundle.graph(TARGET, graph)
        if graph not in self._sessions:
            self._sessions[graph] = open_session(path, self._options.threads)
        with reported_as_bundle_error(path):
            embeddings: Floats = self._sessions[graph].run(None, {name: values})[0]
        if not np.isfinite(embeddings).all():
            raise BundleError(f"{path}: computes numbers that are none (NaN); export the bundle again")
        return embeddings
