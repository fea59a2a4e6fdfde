"""Functions that take a picture, beside an original that is given normalized pixels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nexus_edge.bundle import TensorSpec
from nexus_edge.engines.coreml.images import IMAGE, pictures_of
from nexus_edge.engines.probes import Stage
from nexus_edge.errors import BundleError, ParityError
from nexus_edge.parity.metrics import Values

PIXELS = "pixel_values"


class PictureStage:
    """A stage with the input `image`, as one with the input `pixel_values`; see `Stage`.

    Args:
        stage: takes uint8 [pictures, 3, height, width]
        folder: that of the packages
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
        try:
            pictures = pictures_of(np.asarray(inputs[PIXELS], np.float32), self._folder)
        except BundleError as error:
            raise ParityError(str(error)) from error
        return self._stage.run({**inputs, IMAGE: pictures})
