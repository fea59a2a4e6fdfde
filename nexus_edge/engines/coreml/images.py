"""Functions that take an image, on pixels that were normalized for others: normalization is inside of them.

It is undone here, which is exact: of 256 values that a pixel can have, the float names one.
"""

import numpy as np
from numpy.typing import NDArray

from nexus_edge.bundle import Bundle
from nexus_edge.engines.coreml.advice import mean_and_std
from nexus_edge.errors import BundleError
from nexus_edge.interfaces.engine import Floats
from nexus_edge.processing.normalise import normalisation_table, without_normalisation

IMAGE = "image"
"""Name of the input."""


def images_of(pixel_values: Floats, bundle: Bundle) -> NDArray[np.uint8]:
    """The images that became these pixels: [images, 3, height, width], 0 to 255.

    Args:
        pixel_values: normalized, of the same shape
        bundle: which says with which mean and deviation

    Raises:
        BundleError: it does not say, or the pixels were made with another mean and deviation.
    """
    images = without_normalisation(pixel_values, normalisation_table(*mean_and_std(bundle)))
    if images is None:
        raise BundleError(f"{bundle.root}: the pixels are not those of an image with the bundle's mean and deviation")
    return images
