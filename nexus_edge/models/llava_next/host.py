"""What happens between LLaVA-NeXT's graphs: which of an image's features go where, in numpy and float64, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nexus_edge.interfaces.engine import Array
from nexus_edge.interfaces.graph import Interface
from nexus_edge.interfaces.host import Image, Merge, PromptTokens
from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.models.encoder_host import INDEX, PIXELS, SIZES, EncoderHost, require_encoder
from nexus_edge.models.llava_next.anyres import AnyRes, read_anyres
from nexus_edge.models.llava_next.defaults import image_token


@dataclass(frozen=True)
class LlavaNextHost(EncoderHost):
    """See `VlmHost`.

    Attributes:
        image_token: id that stands for an image feature
    """

    anyres: AnyRes
    image_token: int
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


def make_host(config: Mapping[str, Any], graphs: Mapping[str, Interface], folder: Path) -> LlavaNextHost:
    """See `VlmFamily.host`."""
    require_encoder(graphs, {PIXELS, INDEX}, "LLaVA-NeXT", folder)
    return LlavaNextHost(read_anyres(config), image_token(config))
