"""Any-resolution views: an image is the whole of it in one view, and tiles of the grid that wastes least.

Source: LLaVA-NeXT (January 2024), "AnyRes"; the rounding is transformers' (`select_best_resolution`, `unpad_image` and
`_get_patch_output_size`, 4.57), where sizes are (height, width). The original LLaVA repository has (width, height).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_edge.configs.values import check_multiple, count
from nexus_edge.models.llava_next.defaults import PINPOINTS, vision_config

Size = tuple[int, int]
"""Height and width."""
LONGEST = 2**14
"""Pixels along a side of a grid, at most: 16 times the published ones, and 48 views of 336."""


@dataclass(frozen=True)
class ViewLayout:
    """The features of one image, in patches: those of the whole, then the tiles' joint grid without its padding.

    Attributes:
        patches: along a side of a view
        rows, columns: tiles
        top, left: of the first patch of the joint grid that is no padding
        height, width: of what is no padding; the padding is the same on both sides, so an odd rest stays
    """

    patches: int
    rows: int
    columns: int
    top: int
    left: int
    height: int
    width: int

    @property
    def num_views(self) -> int:
        """The whole and the tiles."""
        return self.rows * self.columns + 1

    @property
    def num_tokens(self) -> int:
        """Positions in the prompt: the whole, and rows of the tiles with a newline each."""
        return self.patches**2 + self.height * (self.width + 1)

    def feature_index(self, first_view: int, newline: int) -> NDArray[np.int64]:
        """int64 [num_tokens]: for each position, the row of the features [views * patches * patches] that it takes.

        Args:
            first_view: index of this image's first view among all
            newline: the row that ends each row of the tiles
        """
        side, start = self.patches, first_view * self.patches**2
        rows = np.arange(self.top, self.top + self.height)[:, None]
        columns = np.arange(self.left, self.left + self.width)[None, :]
        tile = 1 + rows // side * self.columns + columns // side
        tiles = start + (tile * side + rows % side) * side + columns % side
        lines = np.concatenate([tiles, np.full((self.height, 1), newline)], axis=1)
        return np.concatenate([start + np.arange(side**2), lines.ravel()]).astype(np.int64)


@dataclass(frozen=True)
class AnyRes:
    """How images are cut.

    Attributes:
        pinpoints: sizes of the grids to choose from, in pixels
        side: of a view, in pixels
        patches: along a side of a view
    """

    pinpoints: tuple[Size, ...]
    side: int
    patches: int

    @property
    def most_tiles(self) -> int:
        """Of the largest grid."""
        return max(height * width for height, width in self.pinpoints) // self.side**2

    def best(self, height: int, width: int) -> Size:
        """The grid that keeps most pixels of an image, and among equals the smallest."""

        def merit(pinpoint: Size) -> tuple[int, int]:
            scale = min(pinpoint[1] / width, pinpoint[0] / height)
            kept = min(int(width * scale) * int(height * scale), height * width)
            return kept, kept - pinpoint[0] * pinpoint[1]

        return max(self.pinpoints, key=merit)  # the first of equals, as in the original

    def layout(self, height: int, width: int) -> ViewLayout:
        """Of an image of this size in pixels."""
        best = self.best(height, width)
        rows, columns = best[0] // self.side, best[1] // self.side
        tall, wide = rows * self.patches, columns * self.patches
        top = left = 0
        if width / height > wide / tall:
            top = (tall - int(round(height * (wide / width), 7))) // 2
        else:
            left = (wide - int(round(width * (tall / height), 7))) // 2
        return ViewLayout(self.patches, rows, columns, top, left, tall - 2 * top, wide - 2 * left)


def fitted(height: int, width: int, target: Size) -> Size:
    """The size at which an image of a size fits into another, its shape kept; sides are rounded up."""
    by_width, by_height = target[1] / width, target[0] / height
    if by_width < by_height:
        return min(math.ceil(height * by_width), target[0]), target[1]
    return target[0], min(math.ceil(width * by_height), target[1])


def read_anyres(config: Mapping[str, Any]) -> AnyRes:
    """From a parsed config.json; raises ValueError or TypeError naming the key that is wrong."""
    vision = vision_config(config)
    side, patch = count(vision, "image_size"), count(vision, "patch_size")
    check_multiple("vision_config.image_size", side, "patch_size", patch)
    given = config.get("image_grid_pinpoints")
    pinpoints = read_pinpoints(PINPOINTS if given is None else given)
    for pinpoint in pinpoints:
        for length in pinpoint:
            check_multiple("a side in image_grid_pinpoints,", length, "vision_config.image_size", side)
    return AnyRes(pinpoints, side, side // patch)


def read_pinpoints(given: object) -> tuple[Size, ...]:
    """Pairs of height and width in pixels; raises ValueError."""
    pairs = given if isinstance(given, list) else []
    if not pairs or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"image_grid_pinpoints is {given!r:.60}, expected a list of pairs of height and width")
    return tuple((_length(height), _length(width)) for height, width in pairs)


def _length(pixels: object) -> int:
    return count({"image_grid_pinpoints": pixels}, "image_grid_pinpoints", most=LONGEST)
