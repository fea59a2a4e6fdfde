"""The host of models whose images go through one graph: views, and what the family computes beside them; no torch."""

from collections.abc import Mapping, Set
from pathlib import Path
from typing import ClassVar

from nexus_edge.errors import BundleError
from nexus_edge.interfaces.engine import Floats, Run
from nexus_edge.interfaces.graph import Interface
from nexus_edge.interfaces.host import Image
from nexus_edge.processing.positions import SequentialPositions

ENCODER, FEATURES = "vision_encoder", "image_features"
PIXELS, SIZES, INDEX = "pixel_values", "image_sizes", "feature_index"


class EncoderHost:
    """See `VlmHost`: all but `prompt`, `images` and `merge`, which a family adds."""

    positions: ClassVar[SequentialPositions] = SequentialPositions()

    def views(self, image: Image) -> int:
        """See `VlmHost.views`."""
        return len(image[PIXELS])

    def encode(self, run: Run, image: Image) -> Floats:
        """See `VlmHost.encode`."""
        return run(ENCODER, image)[FEATURES]


def require_encoder(graphs: Mapping[str, Interface], inputs: Set[str], title: str, folder: Path) -> None:
    """Raise BundleError unless the vision encoder takes these inputs.

    Args:
        graphs: of a target
        inputs: names
        title: of the model, for the message
        folder: of the graphs
    """
    if ENCODER not in graphs or {spec.name for spec in graphs[ENCODER].inputs} != inputs:
        raise BundleError(f"{folder}: its graphs take no images as {title} does; export the bundle again")
