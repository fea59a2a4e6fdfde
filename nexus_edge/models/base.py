"""What every reference model offers beside `forward`."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class ReferenceModel(nn.Module, ABC):
    """A model whose parameters carry the keys of its checkpoints."""

    @property
    @abstractmethod
    def context_length(self) -> int:
        """Most tokens, prompt and answer together."""

    @abstractmethod
    def constants(self) -> dict[str, Tensor]:
        """Tensors that follow from the configuration alone, by name; on the meta device they have no data."""
