"""Pixels as the tensor that a program with an image input takes."""

import numpy as np

from nexus_edge.engines.coreml.mil.features import Feature
from nexus_edge.engines.coreml.mil.registry import Array
from nexus_edge.errors import BundleError


def as_tensor(pixels: Array, feature: Feature, where: str) -> Array:
    """uint8 [height, width, 3] in RGB, or [height, width] -> float32 [1, channels, height, width] of 0 to 255.

    Core ML does no more than this before the program: scale and bias of an ImageType are operations of it.

    Raises:
        BundleError: the pixels have another type, size or number of channels than the feature.
    """
    channels = (3,) if feature.colours in ("RGB", "BGR") else ()
    expected = (*feature.shape, *channels)
    if pixels.dtype != np.uint8 or pixels.shape != expected:
        raise BundleError(f"{where} is {pixels.dtype} {list(pixels.shape)}, an image here is uint8 {list(expected)}")
    planes = pixels.transpose(2, 0, 1) if channels else pixels[np.newaxis]
    if feature.colours == "BGR":
        planes = planes[::-1]
    return planes[np.newaxis].astype(np.float32)
