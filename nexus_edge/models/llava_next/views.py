"""Images to the views that the vision tower reads."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nexus_edge.models.llava_next.anyres import AnyRes, ViewLayout, fitted
from nexus_edge.processing.images import load_image
from nexus_edge.processing.normalise import CLIP_MEAN, CLIP_STD, Rgb, normalisation_table
from nexus_edge.processing.resize import resize_tall_first
from nexus_edge.processing.sources import ImageInput, name_of

BICUBIC = Image.Resampling.BICUBIC


def preprocess_images(
    images: Sequence[ImageInput], anyres: AnyRes, mean: Rgb = CLIP_MEAN, std: Rgb = CLIP_STD
) -> tuple[NDArray[np.float32], NDArray[np.int64], list[ViewLayout]]:
    """Images as the vision tower reads them: `(pixel_values, image_sizes, layouts)`.

    pixel_values [images, views, 3, side, side]: the whole image, the tiles row by row, then zeros up to the most views
    of any of them. image_sizes [images, 2]: height and width of the images as given, in pixels. `mean` and `std` are
    those of RGB in 0..1. Raises ImageError.
    """
    table = normalisation_table(mean, std)
    loaded = [load_image(image, name_of(image, f"image {index + 1}")) for index, image in enumerate(images)]
    sizes = [(image.height, image.width) for image in loaded]
    layouts = [anyres.layout(*size) for size in sizes]
    most = max((layout.num_views for layout in layouts), default=0)
    pixel_values = np.zeros((len(loaded), most, 3, anyres.side, anyres.side), dtype=np.float32)
    for image, views in zip(loaded, pixel_values, strict=True):
        for index, view in enumerate(cut(image, anyres)):
            for channel in range(3):
                views[index, channel] = table[channel][view[:, :, channel]]
    return pixel_values, np.array(sizes, dtype=np.int64).reshape(-1, 2), layouts


def cut(image: Image.Image, anyres: AnyRes) -> NDArray[np.uint8]:
    """The views of an RGB image: uint8 [views, side, side, 3], the whole of it squeezed into the first."""
    side, target = anyres.side, anyres.best(image.height, image.width)
    height, width = fitted(image.height, image.width, target)
    top, left = (target[0] - height) // 2, (target[1] - width) // 2
    padded = np.zeros((*target, 3), dtype=np.uint8)  # black, before normalisation
    padded[top : top + height, left : left + width] = np.asarray(resize_tall_first(image, width, height, BICUBIC))
    rows, columns = target[0] // side, target[1] // side
    tiles = padded.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    whole = np.asarray(resize_tall_first(image, side, side, BICUBIC))
    return np.concatenate([whole[None], tiles])
