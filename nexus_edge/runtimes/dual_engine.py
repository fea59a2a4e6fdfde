"""What a runtime of a dual encoder has to offer, and the registry of those that do."""

import importlib
from collections.abc import Callable
from typing import Protocol, cast

from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError
from nexus_edge.runtimes.engine import EngineOptions, Floats, Ids

IMAGE, TEXT = "image_encoder", "text_encoder"
"""Names of the two graphs in a bundle."""

ENGINES = {"onnx": "nexus_edge.runtimes.onnx_dual_engine"}
"""Target of a bundle -> module with `open_engine(bundle, options) -> DualEngine`; the first that a bundle has wins."""


Progress = Callable[[int, int], None]
"""Is called during long work with what is done and what is to do."""


def silent(done: int, total: int) -> None:
    """The `Progress` of those who do not look."""


class DualEngine(Protocol):
    """The two towers. Each is loaded when it is first used, so that one costs nothing while only the other works."""

    def encode_images(self, pixel_values: Floats) -> Floats:
        """[batch, 3, height, width] -> L2-normalised embeddings [batch, dim]."""

    def encode_texts(self, input_ids: Ids) -> Floats:
        """int64 [batch, tokens], 0 is padding -> L2-normalised embeddings [batch, dim]; raises BundleError if the
        bundle was shipped without its text tower."""


def open_engine(bundle: Bundle, options: EngineOptions) -> DualEngine:
    """The engine for the first target of `bundle` that can run here; raises BundleError if none can."""
    for target in bundle.manifest.targets:
        if target in ENGINES:
            return cast(DualEngine, importlib.import_module(ENGINES[target]).open_engine(bundle, options))
    has, can = ", ".join(bundle.manifest.targets), ", ".join(ENGINES)
    raise BundleError(f"{bundle.root}: was exported for {has}, what can run here is {can}; export it for that")


def has_graph(bundle: Bundle, name: str) -> bool:
    """Whether every target of the bundle has this tower."""
    return all(name in graphs for graphs in bundle.manifest.graphs.values())
