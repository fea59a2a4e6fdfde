"""A transform: a source of weights that wraps another one."""

from collections.abc import Mapping

from torch import Tensor

from nexus_edge.checkpoints.base import Checkpoint, TensorInfo
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.quant.tensor import QuantizedTensor


class Transform:
    """Passes everything on. A transform overrides what it changes."""

    def __init__(self, source: WeightSource) -> None:
        self._source = source

    @property
    def checkpoint(self) -> Checkpoint:
        return self._source.checkpoint

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        return self._source.infos

    def read(self, name: str) -> Tensor | QuantizedTensor:
        return self._source.read(name)

    def release(self, name: str) -> None:
        self._source.release(name)
