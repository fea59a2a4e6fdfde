"""DICOM pixels that are not square: the image is stretched until they are, as viewers show it."""

import math

from PIL import Image
from pydicom import Dataset

from nexus_edge.processing.images import check_size
from nexus_edge.processing.resize import resize_image

# Vertical first in each of them (PS3.3 C.7.6.3.1.7 and 10.7.1.3); where several stand, the first counts.
SHAPES = ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
SQUARE = 0.01  # what differs by less is square: spacings are rounded, and a resize blurs


def with_square_pixels(image: Image.Image, header: Dataset, name: str) -> Image.Image:
    """The image with its shorter pixels' axis stretched, so that none of its pixels is lost; raises ImageError."""
    ratio = _ratio(header)
    if abs(ratio - 1) < SQUARE:
        return image
    width, height = image.size
    width, height = (width, round(height * ratio)) if ratio > 1 else (round(width / ratio), height)
    check_size(width, height, name)
    return resize_image(image, width, height, Image.Resampling.BILINEAR)


def _ratio(header: Dataset) -> float:
    """Height of a pixel by its width; 1 if the file does not say it."""
    for key in SHAPES:
        value = header.get(key)
        if value is not None and not isinstance(value, str) and len(value) == 2:
            vertical, horizontal = (float(number) for number in value)
            if 0 < vertical < math.inf and 0 < horizontal < math.inf:
                return vertical / horizontal
    return 1.0
