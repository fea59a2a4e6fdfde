"""What every reference model offers beside `forward`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn


class ReferenceModel(nn.Module, ABC):
    """A model whose parameters carry the keys of its checkpoints."""

    @property
    @abstractmethod
    def context_length(self) -> int:
        """Most tokens, prompt and answer together."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Ids that the model has embeddings for: 0 up to this, exclusive."""

    @abstractmethod
    def constants(self) -> dict[str, Tensor]:
        """Tensors that follow from the configuration alone, by name; on the meta device they have no data."""


@dataclass(frozen=True)
class DecoderNames:
    """Where the parts of a decoder are in their model: names of submodules, of `layers` the list."""

    embedding: str
    layers: str
    norm: str
    head: str


class VisionLanguageModel(ReferenceModel):
    """A model that answers a prompt with images; its decoder can be run layer by layer.

    Attributes:
        decoder_names: see `DecoderNames`; a layer is called as `nexus_edge.layers.decoder.DecoderLayer`
    """

    decoder_names: ClassVar[DecoderNames]

    @property
    @abstractmethod
    def hidden_size(self) -> int:
        """Width of the decoder."""

    @abstractmethod
    def image_features(self, pixel_values: Tensor | None, image_sizes: Tensor | None) -> Tensor:
        """Image features of all images, [image tokens, hidden]; no rows without images."""

    @abstractmethod
    def embed(self, input_ids: Tensor, image_features: Tensor) -> Tensor:
        """int64 [batch, tokens], [image tokens, hidden] -> [batch, tokens, hidden]"""

    @abstractmethod
    def rotation(self, position_ids: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines, [batch, tokens, head_dim / 2] each.

        Args:
            position_ids: int64 [batch, tokens]
            length: int64 scalar, tokens of the whole sequence
        """

    @abstractmethod
    def empty_past(self, like: Tensor) -> list[tuple[Tensor, Tensor]]:
        """A cache without tokens, for as many sequences as `like` [batch, ...] has."""


def as_vlm(model: ReferenceModel) -> VisionLanguageModel:
    """A model that is known to be of this kind."""
    assert isinstance(model, VisionLanguageModel), f"{type(model).__name__} answers no prompts"
    return model


class DualEncoder(ReferenceModel):
    """A model with an image and a text tower, whose embeddings are compared by their cosine."""

    logit_scale: nn.Parameter
    """Logarithm of the factor of the cosines, as CLIP trains it; a scalar that no graph uses."""

    @property
    @abstractmethod
    def embed_dim(self) -> int:
        """Length of an embedding."""
