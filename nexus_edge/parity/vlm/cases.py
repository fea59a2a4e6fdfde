"""A prompt with its images, and an image drawn here.

Nothing here is random and nothing is read from elsewhere, so two runs on one bundle see the same numbers.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from nexus_edge.processing import ModelInputs


@dataclass(frozen=True)
class Case:
    """One prompt with its images, and what the processor made of them.

    No prompt: the ids were made otherwise. `num_crops` is what the processor was told for these images.
    """

    name: str
    prompt: str
    images: tuple[Image.Image, ...]
    inputs: ModelInputs
    num_crops: int = 0


def sample_image(width: int, height: int) -> Image.Image:
    """Two gradients, a disc and a bar: no two crops of it are alike, nor its left and right, nor its top and bottom."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    canvas = np.stack((255 * x, 255 * y, 128 + 90 * np.sin(9 * x + 4 * y)), axis=-1)
    canvas[(x - 0.3) ** 2 + (y - 0.4) ** 2 < 0.03] = (220, 40, 30)
    canvas[(abs(x - 0.75) < 0.06) & (y > 0.5)] = (20, 60, 200)
    return Image.fromarray(canvas.astype(np.uint8))
