"""What happens between LLaVA-NeXT's graphs: which of an image's features go where, in numpy and float64, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nexus_edge.errors import BundleError
from nexus_edge.interfaces.engine import Array, Floats, Run
from nexus_edge.interfaces.graph import Interface
from nexus_edge.interfaces.host import Image, Merge, PromptTokens
from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.models.llava_next.anyres import AnyRes, read_anyres
from nexus_edge.models.llava_next.defaults import image_token
from nexus_edge.processing.positions import SequentialPositions

ENCODER, FEATURES = "vision_encoder", "image_features"
PIXELS, SIZES, INDEX = "pixel_values", "image_sizes", "feature_index"


@dataclass(frozen=True)
class LlavaNextHost:
    """See `VlmHost`.

    Attributes:
        image_token: id that stands for an image feature
    """

    anyres: AnyRes
    image_token: int
    positions: ClassVar[SequentialPositions] = SequentialPositions()
    merge: ClassVar[Merge] = "replace"

    def prompt(self, inputs: ModelInputs) -> PromptTokens:
        """See `VlmHost.prompt`."""
        ids, arrays = inputs["input_ids"][0], dict[str, Any](inputs)
        is_image = ids == self.image_token
        return PromptTokens(np.where(is_image, 0, ids), is_image, self.images(arrays))

    def images(self, inputs: Mapping[str, Array]) -> tuple[Image, ...]:
        """See `VlmHost.images`: pixel_values [views, 3, side, side] and feature_index int64 [image tokens] each."""
        if PIXELS not in inputs:
            return ()
        found = []
        for pixels, (height, width) in zip(inputs[PIXELS], inputs[SIZES].tolist(), strict=True):
            layout = self.anyres.layout(height, width)
            newline = layout.num_views * self.anyres.patches**2
            found.append({PIXELS: pixels[: layout.num_views], INDEX: layout.feature_index(0, newline)})
        return tuple(found)

    def views(self, image: Image) -> int:
        """See `VlmHost.views`."""
        return len(image[PIXELS])

    def encode(self, run: Run, image: Image) -> Floats:
        """See `VlmHost.encode`."""
        return run(ENCODER, image)[FEATURES]


def make_host(config: Mapping[str, Any], graphs: Mapping[str, Interface], folder: Path) -> LlavaNextHost:
    """See `VlmFamily.host`."""
    takes = {spec.name for spec in graphs[ENCODER].inputs} if ENCODER in graphs else set()
    if takes != {PIXELS, INDEX}:
        raise BundleError(f"{folder}: its graphs take no images as LLaVA-NeXT does; export the bundle again")
    return LlavaNextHost(read_anyres(config), image_token(config))
