"""Weights with channels times powers of two, so that they round better; `nexus_edge.quant.equalize` says which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nexus_edge.checkpoints.base import TensorInfo
from nexus_edge.checkpoints.tensors import take
from nexus_edge.checkpoints.transforms.base import Transform
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.quant.tensor import QuantizedTensor


@dataclass(frozen=True)
class Factor:
    """Entries of one axis from `first` on, times two to the power of `exponents`."""

    axis: int
    first: int
    exponents: NDArray[np.int8]

    def apply(self, tensor: Tensor) -> None:
        """In place; exact in bfloat16 and float32, for no weight comes near the ends of their range."""
        shape = [-1 if axis == self.axis else 1 for axis in range(tensor.ndim)]
        factor = torch.from_numpy(np.ldexp(np.float32(1), self.exponents)).to(tensor.dtype)
        tensor.narrow(self.axis, self.first, len(factor)).mul_(factor.reshape(shape))


class Equalized(Transform):
    """A source whose tensors are those of the equalized model.

    Args:
        source: holds the model's tensors
        factors: what is multiplied, by the tensor's name; see `nexus_edge.quant.equalize.factors_of`
    """

    def __init__(self, source: WeightSource, factors: Mapping[str, Sequence[Factor]]) -> None:
        super().__init__(source)
        self._factors = factors
        # float16 tensors that change become float32, whose range no factor leaves.
        self._infos = {
            name: TensorInfo("float32", info.shape) if name in factors and info.dtype == "float16" else info
            for name, info in source.infos.items()
        }

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        return self._infos

    def read(self, name: str) -> Tensor | QuantizedTensor:
        if name not in self._factors:
            return super().read(name)
        tensor = take(self._source, name)
        tensor = tensor.float() if tensor.dtype == torch.float16 else tensor
        for factor in self._factors[name]:
            factor.apply(tensor)
        return tensor
