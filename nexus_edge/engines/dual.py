"""What a runtime of a dual encoder has to offer."""

from typing import Protocol, cast

from nexus_edge.bundle import Bundle
from nexus_edge.engines.base import EngineOptions, choose_engine
from nexus_edge.interfaces.engine import Floats, Ids

IMAGE, TEXT = "image_encoder", "text_encoder"
"""Names of the two graphs in a bundle."""


class DualEngine(Protocol):
    """The two towers. Each is loaded when it is first used, so that one costs nothing while only the other works.

    Any number of threads may call at the same time.
    """

    def encode_images(self, pixel_values: Floats) -> Floats:
        """[batch, 3, height, width] -> L2-normalised embeddings [batch, dim]."""

    def encode_texts(self, input_ids: Ids) -> Floats:
        """int64 [batch, tokens], 0 is padding -> L2-normalised embeddings [batch, dim]; raises BundleError if the
        bundle was shipped without its text tower."""

    def close(self) -> None:
        """Let go of the towers. Calls that run are not disturbed, and no other may follow."""


def open_engine(bundle: Bundle, options: EngineOptions) -> DualEngine:
    """The engine that `options` asks for; raises as `choose_engine`."""
    return cast(DualEngine, choose_engine(bundle, "dual_encoder", options).open_engine(bundle, options))


def has_graph(bundle: Bundle, name: str) -> bool:
    """Whether every target of the bundle has this tower."""
    return all(name in graphs for graphs in bundle.manifest.graphs.values())
