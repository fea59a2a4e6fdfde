"""A checkpoint by its own names."""

from collections.abc import Mapping

from torch import Tensor

from nexus_edge.checkpoints.base import Checkpoint, TensorInfo
from nexus_edge.checkpoints.tensors import to_torch


class Stored:
    """See `WeightSource`."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._infos = checkpoint.keys()

    @property
    def checkpoint(self) -> Checkpoint:
        return self._checkpoint

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        return self._infos

    def read(self, name: str) -> Tensor:
        return to_torch(self._checkpoint.read(name))

    def release(self, name: str) -> None:
        self._checkpoint.release(name)
