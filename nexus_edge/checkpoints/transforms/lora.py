"""An adapter merged into the weights that it was trained on.

W + s B A (LoRA, arXiv 2106.09685), and with DoRA (arXiv 2402.09353) its rows brought to the lengths m. As peft's
`merge_and_unload` does it: the sum in float32, rounded once to the base weight's type.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from nexus_edge.checkpoints.adapters.adapter import Adapter
from nexus_edge.checkpoints.adapters.plan import Change, LowRank
from nexus_edge.checkpoints.tensors import take, to_torch
from nexus_edge.checkpoints.transforms.base import Transform
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.quant.tensor import QuantizedTensor


class Merged(Transform):
    """A source with an adapter in it; one tensor and its change are in memory at a time.

    Args:
        source: the base model, by the names of `changes`
        adapter: holds the tensors
        changes: see `nexus_edge.checkpoints.adapters.plan.plan`
    """

    def __init__(self, source: WeightSource, adapter: Adapter, changes: Mapping[str, Change]) -> None:
        super().__init__(source)
        self._adapter, self._changes = adapter, changes

    def read(self, name: str) -> Tensor | QuantizedTensor:
        change = self._changes.get(name)
        if change is None:
            return super().read(name)
        dtype: torch.dtype = getattr(torch, self.infos[name].dtype)
        weight = take(self._source, name) if change.saved is None else self._take(change.saved).to(dtype)
        if change.low_rank is not None:
            weight = self._adapted(weight, change.low_rank).to(dtype)
        if change.added is not None:
            key, factor = change.added
            weight = (weight + self._take(key).float() * factor).to(dtype)
        return weight

    def _adapted(self, weight: Tensor, low_rank: LowRank) -> Tensor:
        """Float32, or float64 of such weights; in the shape of `weight`."""
        first, second = self._take(low_rank.first).float(), self._take(low_rank.second).float()
        matrix = weight.T if low_rank.transposed else weight.flatten(1)
        merged = (second.flatten(1) @ first.flatten(1)).mul_(low_rank.scaling)
        merged = merged.add_(matrix) if matrix.dtype != torch.float64 else merged + matrix
        if low_rank.magnitude is not None:
            lengths = torch.linalg.norm(merged, dim=1)
            merged = merged.mul_((self._take(low_rank.magnitude).float().flatten() / lengths).unsqueeze(1))
        return merged.T.contiguous() if low_rank.transposed else merged.reshape(weight.shape)

    def _take(self, key: str) -> Tensor:
        tensor = to_torch(self._adapter.file.read(key))
        self._adapter.file.release(key)
        return tensor
