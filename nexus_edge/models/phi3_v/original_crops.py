"""Images to crops with Pillow and torch, step by step as Phi-3-Vision's own processor works.

Deliberately no line is shared with `nexus_edge.processing`: it is what P5 holds the runtime's crops against.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

SIDE = 336


def crops_of(images: Sequence[Image.Image], num_crops: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """float32 [images, num_crops + 1, 3, 336, 336]: the global view, the crops row by row, then zeros."""
    return torch.stack([_views(image, num_crops, torch.tensor(mean), torch.tensor(std)) for image in images])


def _views(image: Image.Image, num_crops: int, mean: Tensor, std: Tensor) -> Tensor:
    pixels = torch.from_numpy(np.array(_padded(image.convert("RGB"), num_crops))).permute(2, 0, 1).float() / 255
    pixels = (pixels - mean[:, None, None]) / std[:, None, None]
    whole = interpolate(pixels[None], size=(SIDE, SIDE), mode="bicubic", align_corners=False)
    tiles = [tile for row in pixels.split(SIDE, dim=1) for tile in row.split(SIDE, dim=2)]
    views = torch.cat((whole, torch.stack(tiles)))
    return torch.cat((views, views.new_zeros(num_crops + 1 - len(views), 3, SIDE, SIDE)))


def _padded(image: Image.Image, num_crops: int) -> Image.Image:
    """The largest grid of crops that keeps the shape, white where the image does not fill it."""
    width, height = image.size
    is_portrait = width < height
    if is_portrait:
        image = image.transpose(Image.Transpose.TRANSPOSE)
        width, height = height, width
    ratio = width / height
    scale = max(s for s in range(1, num_crops + 1) if s * -(-s // ratio) <= num_crops)
    new_height = int(scale * SIDE / ratio)
    # Rows before columns, as the Pillow of the authors' time did it in one call; newer ones pick an order.
    resized = image.resize((scale * SIDE, height), Image.Resampling.BILINEAR)
    resized = resized.resize((scale * SIDE, new_height), Image.Resampling.BILINEAR)
    missing = -new_height % SIDE
    padded = ImageOps.expand(resized, (0, missing // 2, 0, missing - missing // 2), fill="white")
    return padded.transpose(Image.Transpose.TRANSPOSE) if is_portrait else padded
