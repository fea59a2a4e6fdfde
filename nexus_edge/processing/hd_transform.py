"""The HD transform of Phi-3-Vision: an image of any shape becomes a grid of 336 x 336 crops.

Phi-3 technical report (arXiv 2404.14219), section on Phi-3-Vision: dynamic cropping splits a high-resolution image
into a two-dimensional array of blocks.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nexus_edge.errors import ImageError
from nexus_edge.processing.resize import resize_image

CROP = 336  # pixels per side of a crop, what the CLIP tower reads
TOKENS_PER_SIDE = 12  # 24 x 24 patches of a crop, merged 2 x 2
WHITE = 255


@dataclass(frozen=True)
class HdGeometry:
    """Where the pixels of one image go. Portraits are worked on transposed, so width >= height in here."""

    width: int  # after the resize, a multiple of 336
    height: int  # after the resize, before the padding
    transposed: bool

    @property
    def long_crops(self) -> int:
        return self.width // CROP

    @property
    def short_crops(self) -> int:
        return math.ceil(self.height / CROP)

    @property
    def pad_before(self) -> int:
        """White rows above the image (left of it for a portrait); the rest of the padding goes to the other side."""
        return (self.short_crops * CROP - self.height) // 2

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of crops."""
        return (self.long_crops, self.short_crops) if self.transposed else (self.short_crops, self.long_crops)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the padded image, in pixels."""
        rows, columns = self.grid
        return rows * CROP, columns * CROP

    @property
    def num_tokens(self) -> int:
        """Positions in the prompt: rows of crops with a separator each, one separator, the global view likewise."""
        rows, columns = self.grid
        crops = rows * TOKENS_PER_SIDE * (columns * TOKENS_PER_SIDE + 1)
        return crops + 1 + TOKENS_PER_SIDE * (TOKENS_PER_SIDE + 1)


def hd_geometry(width: int, height: int, num_crops: int, name: str = "image") -> HdGeometry:
    """The largest grid of at most `num_crops` crops that has the shape of an image of `width` x `height` pixels.

    Raises ImageError if the image is so narrow that nothing of it would be left.
    """
    ratio = max(width, height) / min(width, height)
    scale = 1
    while (scale + 1) * math.ceil((scale + 1) / ratio) <= num_crops:
        scale += 1
    long = scale * CROP
    short = int(long / ratio)  # truncated, as the original does: 1680 / 2.24 is 749 here
    if short == 0:
        raise ImageError(
            f"{name}: {width}x{height} is too narrow, at {long} pixels its short side would vanish; crop or pad it"
        )
    return HdGeometry(long, short, transposed=width < height)


def hd_transform(image: Image.Image, geometry: HdGeometry) -> NDArray[np.uint8]:
    """An RGB image resized, padded with white and turned back: uint8 [*geometry.image_size, 3]."""
    if geometry.transposed:
        image = image.transpose(Image.Transpose.TRANSPOSE)
    resized = resize_image(image, geometry.width, geometry.height, Image.Resampling.BILINEAR)
    padded = np.full((geometry.short_crops * CROP, geometry.width, 3), WHITE, dtype=np.uint8)
    padded[geometry.pad_before : geometry.pad_before + geometry.height] = np.asarray(resized)
    return padded.transpose(1, 0, 2) if geometry.transposed else padded
