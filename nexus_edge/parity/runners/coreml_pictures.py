"""Functions that take a picture, on the pixels that the original is given: normalization is inside of them.

It is undone here, which is exact: of 256 values that a pixel can have, the float names one.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from nexus_edge.bundle import TensorSpec
from nexus_edge.errors import CheckpointError, ParityError
from nexus_edge.parity.metrics import Array, Values
from nexus_edge.parity.report import NotRunError
from nexus_edge.parity.runners import Stage
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.normalise import normalisation_table, read_mean_std

PIXELS, IMAGE = "pixel_values", "image"
METADATA = "metadata.json"
_NEAR = 1e-3  # of the step between two of the 256 values, which is 0.014: arithmetic of another order is far below


class PictureStage:
    """A stage with the input `image`, as one with the input `pixel_values`; see `Stage`.

    Args:
        stage: takes uint8 [pictures, 3, height, width]
        folder: that of the packages, whose metadata.json has the mean and deviation that apps are told
    """

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._stage, self._folder = stage, folder
        self.outputs = stage.outputs

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        image = self._stage.inputs[IMAGE]
        return {PIXELS: TensorSpec(PIXELS, image.dtype, image.shape)}

    def run(self, inputs: Values) -> Values:
        if PIXELS not in inputs:
            raise ParityError(f"takes {PIXELS}, which the original has not")
        pictures = np.stack([self._picture(pixels) for pixels in inputs[PIXELS]])
        return self._stage.run({**inputs, IMAGE: pictures})

    def _picture(self, pixels: Array) -> Array:
        """float32 [3, height, width], normalized -> uint8"""
        picture = np.empty(pixels.shape, np.uint8)
        for channel, (values, table) in enumerate(zip(pixels, self._table, strict=True)):
            step = table[1] - table[0]
            nearest = np.clip(np.rint((values - table[0]) / step), 0, 255).astype(np.uint8)
            if np.abs(table[nearest] - values).max() > _NEAR:
                raise NotRunError(f"the pixels are none of a picture with the mean and deviation of {METADATA}")
            picture[channel] = nearest
        return picture

    @cached_property
    def _table(self) -> Array:
        """[3, 256]: what each value of a pixel becomes."""
        where = str(self._folder / METADATA)
        try:
            pictures = read_json(self._folder, METADATA).get("pictures")
            mean, std = read_mean_std(pictures if isinstance(pictures, dict) else {}, ("mean", "std"), where)
        except CheckpointError as error:
            raise ParityError(f"{where} has no mean and deviation: {error}") from error
        return normalisation_table(mean, std)
