"""How the graphs of a model become programs with fixed shapes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from nexus_edge.bundle import ComputeUnits, Role, TensorSpec
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.models.base import ReferenceModel

Model = TypeVar("Model", bound=ReferenceModel)


@dataclass(frozen=True)
class Function:
    """One program with fixed shapes, as the Neural Engine wants them.

    Attributes:
        name: within its package
        module: holds the whole model as `root`, so that parameter names are the model's after "root."
        inputs, outputs: all sizes are numbers
        images: inputs of Core ML's image type, float32 [1, 3, height, width] of 0 to 255 for the module
        states: buffers of the module that the program keeps between calls, float16
        constants: from the bundle's `processor/` folder to the buffers that neither checkpoint nor model holds, by name
    """

    name: str
    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    images: frozenset[str] = frozenset()
    states: tuple[TensorSpec, ...] = ()
    constants: Callable[[Path], Mapping[str, Tensor]] = lambda processor: {}


@dataclass(frozen=True)
class Package:
    """One .mlpackage: functions that share their weights.

    Attributes:
        file: in the folder, without its ending
        role: what an app takes it for; where several have the same one, the decoder apart, one of them is enough
        functions: the first one is the default; more than one needs iOS 18
        compute_units: what the app should ask for, by the name of MLComputeUnits' case
        ios: the oldest iOS that loads it
        note: a sentence for the app developer
        layers: of the decoder, in a package that holds a part of it
    """

    file: str
    role: Role
    functions: tuple[Function, ...]
    compute_units: ComputeUnits
    ios: int = 18
    note: str = ""
    layers: range | None = None


@dataclass(frozen=True)
class StaticSplit:
    """How the models of a family become packages.

    Attributes:
        packages: from a graph of the model's split, and the oldest iOS that must load it, to the packages that it is;
            without such an iOS, to the best for iOS 18 and, where the weights allow it, one for an older system
        ios: the oldest that the programs themselves need, whatever the weights
        reason: why, the end of "it needs iOS 18 for ..."
    """

    packages: Callable[[GraphSpec, int | None], Sequence[Package]]
    ios: int = 17
    reason: str = ""


def root_of(spec: GraphSpec, kind: type[Model]) -> Model:
    """The model whose graph this is."""
    root = spec.module.root
    assert isinstance(root, kind)
    return root
