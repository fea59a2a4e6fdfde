"""A graph: a part of a model that is deployed on its own, with named tensors in and out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from nexus_edge.bundle import TensorSpec


@dataclass(frozen=True)
class Interface:
    """What a graph takes and gives, each by its name."""

    inputs: tuple["TensorSpec", ...]
    outputs: tuple["TensorSpec", ...]


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
    module: "nn.Module"
    inputs: tuple["TensorSpec", ...]
    outputs: tuple["TensorSpec", ...]


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
