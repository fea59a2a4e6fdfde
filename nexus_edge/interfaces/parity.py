"""What a family gives to the parity ladder: data and functions, no subclass.

What the ladder does with them is its own matter, one folder for each kind of models (`nexus_edge/parity/<kind>/`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image
    from torch import Tensor

    from nexus_edge.interfaces.processor import Processor
    from nexus_edge.parity.report.report import Check
    from nexus_edge.parity.stages import Judge
    from nexus_edge.parity.vlm.cases import Case


@dataclass(frozen=True)
class ParityCases:
    """Of any family.

    Attributes:
        golden_set: folder in the checkout's tests/golden with what the original implementation computed
        compare_original: P1, the reference model against every recording in such a folder
    """

    golden_set: str
    compare_original: "Callable[[Path, Judge], list[Check]]"


@dataclass(frozen=True)
class Turn:
    """How a question about one image and its answer are written out, in text with a family's own tags.

    Attributes:
        image: up to and including the image
        question: what follows, with {} for the question
        end: what follows the answer
    """

    image: str
    question: str
    end: str


@dataclass(frozen=True)
class VlmCases(ParityCases):
    """Of a family of vision-language models.

    Attributes:
        make: prompts with images and without, from the bundle's processor and from what `limit` says
        original_pixels: `pixel_values` of a case's images by other code than `nexus_edge.processing`, with the settings
            of a processor
        vision_inputs: what the vision encoder of the dynamic split takes of all images of a prompt, by name: from
            `pixel_values` and `image_sizes`, and the processor that made them
        limit: from a parsed config.json to the tokens up to which a sequence takes LongRoPE's short factors; None for
            one list of factors
        turn: for the questions with known answers that a checkpoint may bring
    """

    make: "Callable[[Processor, int | None], list[Case]]"
    original_pixels: "Callable[[Case, Processor], NDArray[np.generic]]"
    vision_inputs: "Callable[[Processor, NDArray[Any], NDArray[Any]], Mapping[str, NDArray[Any]]]"
    limit: Callable[[Mapping[str, Any]], int | None]
    turn: Turn


class DualInputs(Protocol):
    """Images and texts to the towers' inputs, by other code than the runtime's."""

    def pixels(self, images: "Sequence[Image.Image]") -> "Tensor":
        """float32 [images, 3, size, size]"""

    def ids(self, texts: Sequence[str]) -> "Tensor":
        """int64 [texts, context], padded with 0"""


@dataclass(frozen=True)
class DualCases(ParityCases):
    """Of a family of dual encoders.

    Attributes:
        original_inputs: from a checkpoint's parsed configuration and the files of its tokenizer, by name
    """

    original_inputs: Callable[[Mapping[str, Any], Mapping[str, bytes]], DualInputs]
