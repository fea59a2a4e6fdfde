"""What happens between Molmo's graphs: masks of the views and where features go, in numpy and float32, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nexus_edge.errors import BundleError
from nexus_edge.interfaces.engine import Array, Floats, Run
from nexus_edge.interfaces.graph import Interface
from nexus_edge.interfaces.host import Image, Merge, PromptTokens
from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.models.molmo.crops import NO_VIEW, layout_of_views
from nexus_edge.models.molmo.params import MolmoParams
from nexus_edge.processing.positions import SequentialPositions

ENCODER, FEATURES = "vision_encoder", "image_features"
PIXELS, SIZES, MASKS, INDEX = "pixel_values", "image_sizes", "image_masks", "feature_index"


@dataclass(frozen=True)
class MolmoHost:
    """See `VlmHost`.

    Attributes:
        patch_token: id at whose embedding an image feature is added
    """

    patch_token: int
    positions: ClassVar[SequentialPositions] = SequentialPositions()
    merge: ClassVar[Merge] = "add"

    def prompt(self, inputs: ModelInputs) -> PromptTokens:
        """See `VlmHost.prompt`; an image token keeps its id, for it has an embedding of its own."""
        ids = inputs["input_ids"][0]
        return PromptTokens(ids, ids == self.patch_token, self.images(dict[str, Any](inputs)))

    def images(self, inputs: Mapping[str, Array]) -> tuple[Image, ...]:
        """See `VlmHost.images`: what `graphs.VisionEncoder` takes of each."""
        if PIXELS not in inputs:
            return ()
        found = []
        for pixels, (height, width) in zip(inputs[PIXELS], inputs[SIZES].tolist(), strict=True):
            views = pixels[(pixels != NO_VIEW).any(axis=(1, 2, 3))]
            layout = layout_of_views(height, width, len(views))
            found.append({PIXELS: views, MASKS: layout.masks(), INDEX: layout.feature_index()})
        return tuple(found)

    def views(self, image: Image) -> int:
        """See `VlmHost.views`."""
        return len(image[PIXELS])

    def encode(self, run: Run, image: Image) -> Floats:
        """See `VlmHost.encode`."""
        return run(ENCODER, image)[FEATURES]


def make_host(config: Mapping[str, Any], graphs: Mapping[str, Interface], folder: Path) -> MolmoHost:
    """See `VlmFamily.host`."""
    takes = {spec.name for spec in graphs[ENCODER].inputs} if ENCODER in graphs else set()
    if takes != {PIXELS, MASKS, INDEX}:
        raise BundleError(f"{folder}: its graphs take no images as Molmo does; export the bundle again")
    return MolmoHost(MolmoParams.from_json(config).patch_token)
