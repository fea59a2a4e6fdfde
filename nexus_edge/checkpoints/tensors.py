"""Arrays of files as torch tensors, and one weight of a source as numbers."""

import torch
from torch import Tensor

from nexus_edge.checkpoints.base import Array
from nexus_edge.interfaces.weights import WeightSource


def to_torch(array: Array) -> Tensor:
    """A copy as a torch tensor; bfloat16, which numpy itself does not know, goes through its bits."""
    if array.dtype.name != "bfloat16":
        return torch.from_numpy(array.copy())
    return torch.from_numpy(array.view("int16").copy()).view(torch.bfloat16)


def take(source: WeightSource, name: str) -> Tensor:
    """One tensor in the type that it is stored in, codes as the float32 that they stand for; its pages are released."""
    found = source.read(name)
    source.release(name)
    return found if isinstance(found, Tensor) else found.dequantize()
