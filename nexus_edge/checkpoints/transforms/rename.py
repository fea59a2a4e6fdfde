"""Other names for the same tensors."""

from collections.abc import Mapping

from torch import Tensor

from nexus_edge.checkpoints.base import TensorInfo
from nexus_edge.checkpoints.transforms.base import Transform
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.quant.tensor import QuantizedTensor


class Renamed(Transform):
    """A source by other names.

    Args:
        source: holds the tensors
        names: new name -> the source's; two names for one tensor are tied weights, and tensors without a name are gone
    """

    def __init__(self, source: WeightSource, names: Mapping[str, str]) -> None:
        super().__init__(source)
        self._names = dict(names)
        self._infos = {name: source.infos[old] for name, old in names.items()}

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        return self._infos

    def read(self, name: str) -> Tensor | QuantizedTensor:
        return self._source.read(self._names[name])

    def release(self, name: str) -> None:
        self._source.release(self._names[name])
