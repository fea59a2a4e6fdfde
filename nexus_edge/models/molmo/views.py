"""Images to the views that the vision tower reads."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nexus_edge.models.molmo.crops import SIDE, CropLayout, cut_crops, fitted, layout_of
from nexus_edge.models.molmo.resize import resize_triangle
from nexus_edge.processing.normalise import CLIP_MEAN, CLIP_STD, Rgb


def preprocess_image(
    image: Image.Image, max_crops: int, mean: Rgb = CLIP_MEAN, std: Rgb = CLIP_STD
) -> tuple[NDArray[np.float32], CropLayout]:
    """An RGB image as the vision tower reads it: views [views, 3, 336, 336], the whole and the crops row by row.

    `mean` and `std` are those of RGB in 0..1.
    """
    layout = layout_of(image.height, image.width, max_crops)
    pixels = np.asarray(image).astype(np.float32) / np.float32(255)
    whole = _fit(pixels, fitted(image.height, image.width, (SIDE, SIDE)), (SIDE, SIDE))
    canvas = _fit(pixels, (layout.height, layout.width), layout.canvas)
    views = np.concatenate([whole[None], cut_crops(canvas, layout.rows, layout.columns)])
    views = (views - np.array(mean, dtype=np.float32)) / np.array(std, dtype=np.float32)
    return np.ascontiguousarray(views.transpose(0, 3, 1, 2)), layout


def _fit(pixels: NDArray[np.float32], size: tuple[int, int], target: tuple[int, int]) -> NDArray[np.float32]:
    """[rows, columns, 3] resized, in the middle of a black canvas [*target, 3]."""
    top, left = (target[0] - size[0]) // 2, (target[1] - size[1]) // 2
    canvas = np.zeros((*target, 3), dtype=np.float32)
    canvas[top : top + size[0], left : left + size[1]] = resize_triangle(pixels, *size)
    return canvas
