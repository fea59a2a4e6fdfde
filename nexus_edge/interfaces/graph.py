"""A graph: a part of a model that is deployed on its own, with named tensors in and out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nexus_edge.bundle import TensorSpec


@dataclass(frozen=True)
class GraphSpec:
    """One deployable part.

    Attributes:
        name: of the file, without its ending
        module: forward takes the inputs in the order of `inputs` and returns the outputs in the order of `outputs`;
            it holds the whole model as `root`, so that parameter names are the model's after "root."
        inputs, outputs: a dimension given as a string is dynamic, and equal strings are equal sizes
    """

    name: str
    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def example(self, sizes: dict[str, int]) -> list[Tensor]:
        """Meta tensors of the inputs' types and shapes, dynamic dimensions as `sizes` says."""
        return [
            torch.empty(
                [sizes[size] if isinstance(size, str) else size for size in spec.shape],
                dtype=getattr(torch, spec.dtype),
                device="meta",
            )
            for spec in self.inputs
        ]

    def dynamic_shapes(self) -> list[dict[int, torch.export.Dim]]:
        """Per input, axis -> dimension, as `torch.export` wants it."""
        names = {size for spec in self.inputs for size in spec.shape if isinstance(size, str)}
        dims = {name: torch.export.Dim(name) for name in sorted(names)}
        return [
            {axis: dims[size] for axis, size in enumerate(spec.shape) if isinstance(size, str)} for spec in self.inputs
        ]


@dataclass(frozen=True)
class ModelSplit:
    """How the models of one family come apart.

    Attributes:
        names: of the graphs, in the order in which a prompt runs through them
        owner: from a module's name in the model to the graph that its weights go into
        graphs: the parts of a model, in the order of `names`
    """

    names: tuple[str, ...]
    owner: Callable[[str], str]
    graphs: Callable[[Any], tuple[GraphSpec, ...]]
