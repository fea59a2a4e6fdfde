"""Images to views with Pillow and numpy, step by step as transformers' image processor of the model works (4.57).

Deliberately no line is shared with `nexus_edge.processing` or `views`: it is what P5 holds the runtime's views against.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Grids = Sequence[tuple[int, int]]


def views_of(
    images: Sequence[Image.Image], grids: Grids, side: int, mean: Sequence[float], std: Sequence[float]
) -> Floats:
    """float32 [images, views, 3, side, side]: the whole image, its tiles row by row, then zeros.

    Args:
        images: RGB
        grids: height and width of the grids to choose from
        side: of a view, in pixels
        mean, std: of RGB in 0 to 1
    """
    found = [_views(image.convert("RGB"), grids, side) for image in images]
    most = max(len(views) for views in found)
    pixels = np.zeros((len(found), most, 3, side, side), np.float32)
    for row, views in zip(pixels, found, strict=True):
        scaled = (np.stack([np.asarray(view) for view in views]) * (1 / 255)).astype(np.float32)
        row[: len(views)] = ((scaled - np.array(mean, np.float32)) / np.array(std, np.float32)).transpose(0, 3, 1, 2)
    return pixels


def _views(image: Image.Image, grids: Grids, side: int) -> list[Image.Image]:
    width, height = image.size
    grid_height, grid_width = _grid(width, height, grids)
    by_width, by_height = grid_width / width, grid_height / height
    if by_width < by_height:
        new_width, new_height = grid_width, min(-int(-height * by_width // 1), grid_height)
    else:
        new_width, new_height = min(-int(-width * by_height // 1), grid_width), grid_height
    canvas = Image.new("RGB", (grid_width, grid_height))
    resized = _resize(image, new_width, new_height)
    canvas.paste(resized, ((grid_width - new_width) // 2, (grid_height - new_height) // 2))
    corners = [(x, y) for y in range(0, grid_height, side) for x in range(0, grid_width, side)]
    tiles = [canvas.crop((x, y, x + side, y + side)) for x, y in corners]
    return [_resize(image, side, side), *tiles]


def _grid(width: int, height: int, grids: Grids) -> tuple[int, int]:
    """Height and width of the first grid that keeps most pixels, and of those wastes fewest."""
    best, most, least = grids[0], 0, float("inf")
    for grid_height, grid_width in grids:
        scale = min(grid_width / width, grid_height / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        wasted = grid_width * grid_height - kept
        if kept > most or (kept == most and wasted < least):
            best, most, least = (grid_height, grid_width), kept, wasted
    return best


def _resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """By the bicubic filter: rows before columns, as the Pillow of the recordings did it for images like the cases'."""
    return image.resize((width, image.height), Image.Resampling.BICUBIC).resize(
        (width, height), Image.Resampling.BICUBIC
    )
