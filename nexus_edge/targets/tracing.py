"""What `torch.export` wants to know of a graph beside its module."""

from collections.abc import Mapping

import torch
from torch import Tensor

from nexus_edge.interfaces.graph import GraphSpec


def example(spec: GraphSpec, sizes: Mapping[str, int]) -> list[Tensor]:
    """Meta tensors of the inputs' types and shapes, dynamic dimensions as `sizes` says."""
    return [
        torch.empty(
            [sizes[size] if isinstance(size, str) else size for size in tensor.shape],
            dtype=getattr(torch, tensor.dtype),
            device="meta",
        )
        for tensor in spec.inputs
    ]


def dynamic_shapes(spec: GraphSpec) -> list[dict[int, torch.export.Dim]]:
    """Per input, axis -> dimension."""
    names = {size for tensor in spec.inputs for size in tensor.shape if isinstance(size, str)}
    dims = {name: torch.export.Dim(name) for name in sorted(names)}
    return [
        {axis: dims[size] for axis, size in enumerate(tensor.shape) if isinstance(size, str)} for tensor in spec.inputs
    ]
