"""What a family's independent way to the towers' inputs offers; see original_inputs.py of a family."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor


class DualInputs(Protocol):
    """Pictures and texts to tensors, by other code than the runtime's."""

    def pixels(self, pictures: Sequence[Image.Image]) -> "Tensor":
        """float32 [pictures, 3, size, size]"""

    def ids(self, texts: Sequence[str]) -> "Tensor":
        """int64 [texts, context], padded with 0"""
