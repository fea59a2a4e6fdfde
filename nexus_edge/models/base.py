"""What every reference model offers beside `forward`."""

from abc import ABC, abstractmethod

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


class DualEncoder(ReferenceModel):
    """A model with an image and a text tower, whose embeddings are compared by their cosine."""

    logit_scale: nn.Parameter
    """Logarithm of the factor of the cosines, as CLIP trains it; a scalar that no graph uses."""

    @property
    @abstractmethod
    def embed_dim(self) -> int:
        """Length of an embedding."""
