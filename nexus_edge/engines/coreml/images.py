"""Functions that take a picture, on pixels that were normalized for others: normalization is inside of them.

It is undone here, which is exact: of 256 values that a pixel can have, the float names one.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nexus_edge.engines.base import Floats
from nexus_edge.errors import BundleError, CheckpointError
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.normalise import normalisation_table, read_mean_std, without_normalisation

METADATA = "metadata.json"
IMAGE = "image"
"""Name of the input."""


def pictures_of(pixel_values: Floats, folder: Path) -> NDArray[np.uint8]:
    """The pictures that became these pixels: [pictures, 3, height, width], 0 to 255.

    Args:
        pixel_values: normalized, of the same shape
        folder: that of the packages, whose metadata.json has the mean and deviation that apps are told

    Raises:
        BundleError: there is no such metadata.json, or the pixels were made with another mean and deviation.
    """
    where = str(folder / METADATA)
    try:
        described = read_json(folder, METADATA).get("pictures")
        mean, std = read_mean_std(described if isinstance(described, dict) else {}, ("mean", "std"), where)
    except CheckpointError as error:
        raise BundleError(f"{where} has no mean and deviation: {error}") from error
    pictures = without_normalisation(pixel_values, normalisation_table(mean, std))
    if pictures is None:
        raise BundleError(f"{where}: the pixels are none of a picture with this mean and deviation")
    return pictures
