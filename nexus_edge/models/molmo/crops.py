"""Overlapping crops: an image is the whole of it in one view, and crops whose windows cover it without gaps.

A crop shows its window and a margin around it that its neighbours show too; the tower sees the margins, the decoder
gets each part of the image once. Source: Molmo and PixMo (arXiv 2409.17146), section 2; the roundings, the order of the
masks and the float32 arithmetic are those of the authors' image_preprocessing_molmo.py.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nexus_edge.errors import InputError

SIDE = 336
"""Pixels along a side of a view."""
PATCH = 14
"""Pixels along a side of a patch."""
PATCHES = SIDE // PATCH
TOKENS = PATCHES // 2
"""Along a side of a view: 2 x 2 patches are pooled to a token."""
MARGIN = 4
"""Patches on each side of a crop that a neighbour shows too."""
WINDOW = PATCHES - 2 * MARGIN
"""Patches along a side of a crop that are its own."""
STEP, EDGE = WINDOW // 2, MARGIN // 2
"""Tokens from one crop to the next, and of a margin."""
NO_MASK = -1.0
"""The mask of the last crop, see `CropLayout.masks`."""
NO_VIEW = -1.0
"""Every pixel of a view that only fills up a batch, where images have fewer views than others."""


@dataclass(frozen=True)
class CropLayout:
    """Where the parts of one image are.

    Attributes:
        rows, columns: of crops
        height, width: of the image in pixels, as it lies in the middle of the crops' joint canvas; the rest is padding
    """

    rows: int
    columns: int
    height: int
    width: int

    @property
    def num_views(self) -> int:
        """The whole and the crops."""
        return self.rows * self.columns + 1

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width in pixels of what the crops cover together."""
        return self.rows * WINDOW * PATCH + 2 * MARGIN * PATCH, self.columns * WINDOW * PATCH + 2 * MARGIN * PATCH

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens of the canvas."""
        return self.rows * STEP + 2 * EDGE, self.columns * STEP + 2 * EDGE

    @property
    def num_features(self) -> int:
        """Image features in the prompt: those of the whole, then those of the canvas."""
        return TOKENS**2 + self.grid[0] * self.grid[1]

    @property
    def num_tokens(self) -> int:
        """Positions in the prompt: the features, a token after each row, and two around each of the parts."""
        return self.num_features + TOKENS + self.grid[0] + 4

    def feature_index(self) -> NDArray[np.int64]:
        """int64 [num_features]: for each feature in the prompt its row among those of all views, [views * 12 * 12].

        Of the tokens that two crops show, each takes those nearer to its middle.
        """
        rows, columns = (np.arange(length) for length in self.grid)
        crop_row = ((rows - EDGE) // STEP).clip(0, self.rows - 1)
        crop_column = ((columns - EDGE) // STEP).clip(0, self.columns - 1)
        view = 1 + crop_row[:, None] * self.columns + crop_column[None, :]
        inside = (rows - crop_row * STEP)[:, None] * TOKENS + (columns - crop_column * STEP)[None, :]
        return np.concatenate([np.arange(TOKENS**2), (view * TOKENS**2 + inside).ravel()]).astype(np.int64)

    def masks(self) -> NDArray[np.float32]:
        """[views, 24 * 24]: which share of a patch is image and no padding.

        The original puts the view of the whole before the crops, and its mask after theirs. So each view has the mask
        of the next one, and the last has -1 everywhere. The models were trained like this.
        """
        tall, wide = self.canvas
        top, left = (tall - self.height) // 2, (wide - self.width) // 2
        real = np.zeros((tall, wide), dtype=np.float32)
        real[top : top + self.height, left : left + self.width] = 1
        crops = as_patches(cut_crops(real[..., None], self.rows, self.columns)).mean(-1, dtype=np.float32)
        return np.concatenate([crops, np.full((1, PATCHES**2), NO_MASK, dtype=np.float32)])


def layout_of(height: int, width: int, max_crops: int) -> CropLayout:
    """Of an image of this size in pixels, in at most `max_crops` crops."""
    rows, columns = tiling(height, width, max_crops)
    canvas = CropLayout(rows, columns, 0, 0).canvas
    return CropLayout(rows, columns, *fitted(height, width, canvas))


def layout_of_views(height: int, width: int, views: int) -> CropLayout:
    """Of an image that was cut into so many views, whatever the most crops were: the choice among all that are no more
    is the same. Raises InputError where no image of this size is cut so."""
    layout = layout_of(height, width, max(views - 1, 1))
    if layout.num_views != views:
        raise InputError(f"an image of {height} x {width} pixels is never cut into {views} views")
    return layout


def tiling(height: int, width: int, max_crops: int) -> tuple[int, int]:
    """Rows and columns of crops: those that enlarge the image least, or where it must shrink, shrink it least.

    What counts is the image without the outer margins. Where an image is no larger than these, the original divides by
    zero or takes negative scales; so it is done here.
    """
    margins, window = 2 * MARGIN * PATCH, WINDOW * PATCH
    tilings = _tilings(max_crops)
    size = np.array([height - margins, width - margins], dtype=np.float32)
    with np.errstate(divide="ignore"):
        scales = ((tilings * window).astype(np.float32) / size).min(axis=1)
    if (scales < 1).all():
        chosen = int(np.argmax(scales))
    else:
        chosen = int(np.argmin(np.where(scales < 1, np.float32(np.inf), scales)))
    rows, columns = tilings[chosen].tolist()
    return rows, columns


@cache
def _tilings(max_crops: int) -> NDArray[np.int64]:
    """[tilings, 2]: rows and columns, in the order in which the first of equals is taken."""
    sides = range(1, max_crops + 1)
    pairs = [(rows, columns) for rows in sides for columns in sides if rows * columns <= max_crops]
    return np.array(sorted(pairs, key=lambda pair: (pair[0] * pair[1], pair[0])))


def fitted(height: int, width: int, target: tuple[int, int]) -> tuple[int, int]:
    """The size at which an image of a size fits into another, its shape kept; the product is float32, and rounded down.

    A side has a pixel at least, where the original would fail.
    """
    tall, wide = np.float32(height), np.float32(width)
    scale = min(np.float32(target[0]) / tall, np.float32(target[1]) / wide)
    return max(int(tall * scale), 1), max(int(wide * scale), 1)


def cut_crops(canvas: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """[height, width, channels] -> [rows * columns, 336, 336, channels], row by row."""
    step = WINDOW * PATCH
    corners = [(row * step, column * step) for row in range(rows) for column in range(columns)]
    return np.stack([canvas[top : top + SIDE, left : left + SIDE] for top, left in corners])


def as_patches(views: NDArray[np.float32]) -> NDArray[np.float32]:
    """[views, 336, 336, channels] -> [views, 24 * 24, 14 * 14 * channels], row by row, channels innermost."""
    channels = views.shape[-1]
    blocks = views.reshape(-1, PATCHES, PATCH, PATCHES, PATCH, channels).swapaxes(2, 3)
    return blocks.reshape(-1, PATCHES**2, PATCH * PATCH * channels)
