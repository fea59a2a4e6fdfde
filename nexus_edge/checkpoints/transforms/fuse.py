"""Modules that are one in the model and several in the checkpoint, or the other way round."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nexus_edge.checkpoints.base import TensorInfo
from nexus_edge.checkpoints.tensors import take
from nexus_edge.checkpoints.transforms.base import Transform
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.quant.tensor import QuantizedTensor


@dataclass(frozen=True)
class Rows:
    """Rows `first` up to `first + count` of a tensor of the source."""

    name: str
    first: int
    count: int


Assembled = Mapping[str, tuple[Rows, ...]]
"""Name of a tensor -> the rows that it is made of, in their order."""


class Fused(Transform):
    """A source in which some tensors are made of rows of others.

    One whole and one of its parts are in memory at a time.

    Args:
        source: holds the rows
        names: all names of the result, in their order
        made: which of them are made, and of what
    """

    def __init__(self, source: WeightSource, names: Iterable[str], made: Assembled) -> None:
        super().__init__(source)
        self._made = made
        self._infos = {name: self._info(name) for name in names}

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        return self._infos

    def _info(self, name: str) -> TensorInfo:
        if name not in self._made:
            return self._source.infos[name]
        parts = [self._source.infos[rows.name] for rows in self._made[name]]
        rows = sum(rows.count for rows in self._made[name])
        # One type for all: the first part's where they agree, else one that holds every part's numbers.
        dtype = parts[0].dtype if len({part.dtype for part in parts}) == 1 else "float32"
        return TensorInfo(dtype, (rows, *parts[0].shape[1:]))

    def read(self, name: str) -> Tensor | QuantizedTensor:
        if name not in self._made:
            return super().read(name)
        info = self._infos[name]
        whole, first = torch.empty(info.shape, dtype=getattr(torch, info.dtype)), 0
        for rows in self._made[name]:
            part = take(self._source, rows.name)
            whole[first : first + rows.count] = part[rows.first : rows.first + rows.count]
            first += rows.count
        return whole

    def release(self, name: str) -> None:
        if name not in self._made:  # parts were released as soon as they had been read
            super().release(name)
