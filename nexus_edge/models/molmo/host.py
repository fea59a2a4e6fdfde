"""What happens between Molmo's graphs: masks of the views and where features go, in numpy and float32, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nexus_edge.interfaces.engine import Array
from nexus_edge.interfaces.graph import Interface
from nexus_edge.interfaces.host import Image, Merge, PromptTokens
from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.models.encoder_host import INDEX, PIXELS, SIZES, EncoderHost, require_encoder
from nexus_edge.models.molmo.crops import NO_VIEW, layout_of_views
from nexus_edge.models.molmo.params import MolmoParams

MASKS = "image_masks"


@dataclass(frozen=True)
class MolmoHost(EncoderHost):
    """See `VlmHost`.

    Attributes:
        patch_token: id at whose embedding an image feature is added
    """

    patch_token: int
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


def make_host(config: Mapping[str, Any], graphs: Mapping[str, Interface], folder: Path) -> MolmoHost:
    """See `VlmFamily.host`."""
    require_encoder(graphs, {PIXELS, MASKS, INDEX}, "Molmo", folder)
    return MolmoHost(MolmoParams.from_json(config).patch_token)
