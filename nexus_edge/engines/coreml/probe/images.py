"""Functions that take an image, beside an original that is given normalized pixels."""

from collections.abc import Mapping

import numpy as np

from nexus_edge.bundle import Bundle, TensorSpec
from nexus_edge.engines.coreml.images import IMAGE, images_of
from nexus_edge.engines.probes import Stage
from nexus_edge.errors import BundleError, ParityError
from nexus_edge.parity.metrics import Values

PIXELS = "pixel_values"


class ImageStage:
    """A stage with the input `image`, as one with the input `pixel_values`; see `Stage`.

    Args:
        stage: takes uint8 [images, 3, height, width]
        bundle: that it is of
    """

    def __init__(self, stage: Stage, bundle: Bundle) -> None:
        self._stage, self._bundle = stage, bundle
        self.outputs = stage.outputs

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        image = self._stage.inputs[IMAGE]
        return {PIXELS: TensorSpec(PIXELS, image.dtype, image.shape)}

    def run(self, inputs: Values) -> Values:
        if PIXELS not in inputs:
            raise ParityError(f"takes {PIXELS}, which the original has not")
        try:
            images = images_of(np.asarray(inputs[PIXELS], np.float32), self._bundle)
        except BundleError as error:
            raise ParityError(str(error)) from error
        return self._stage.run({**inputs, IMAGE: images})
