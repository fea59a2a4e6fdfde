"""A checkpoint seen through the names of a model, and what a family says about these names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from nexus_edge.checkpoints.base import Checkpoint, TensorInfo
    from nexus_edge.quant.tensor import QuantizedTensor


@dataclass(frozen=True)
class Fused:
    """Modules that are one in some layouts of a model and several in others; their rows follow one another.

    A checkpoint may hold either where the model has the other.

    Attributes:
        whole: last part of the one module's name, such as "qkv_proj"
        parts: last parts of the others' names, in the order of their rows
    """

    whole: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class WeightRules:
    """How the names of a family's checkpoints differ from those of its reference model.

    Attributes:
        rename: other name -> the model's name. Used where the model's own is absent, dropped where it is present.
        prefixes: how another layout of the same model begins its names -> how the model's begin; used like `rename`.
            Adapters, which name the modules of the running original, are read with them too.
        fuse: see `Fused`
        tie: the model's name -> the name whose tensor it shares. A tensor of its own is then not used; an export
            wants it to be equal (`check_tied`). Where the other one is absent, it stands for both.
        ignore: fnmatch patterns of names that carry no weight
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    prefixes: Mapping[str, str] = field(default_factory=dict)
    fuse: tuple[Fused, ...] = ()
    tie: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()


class WeightSource(Protocol):
    """A checkpoint's tensors by a model's names, handed out one at a time.

    Transforms (`nexus_edge/checkpoints/transforms/`) wrap a source and are one.
    """

    @property
    def checkpoint(self) -> "Checkpoint":
        """Where the tensors are from: its name, its configuration, its other files."""
        ...

    @property
    def infos(self) -> "Mapping[str, TensorInfo]":
        """Type and shape of every tensor by its name, in the model's order; nothing is read."""
        ...

    def read(self, name: str) -> "Tensor | QuantizedTensor":
        """One tensor, a copy that the caller may change; quantized where the checkpoint holds codes.

        Raises:
            CheckpointError: a file cannot be read
        """
        ...

    def release(self, name: str) -> None:
        """Give back the resident memory of the files that reading `name` touched; what was read stays valid."""
        ...
