"""What every source of weights offers to the exporter: `Checkpoint`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from numpy.typing import NDArray

from nexus_edge.storage.dtypes import item_size

if TYPE_CHECKING:
    from nexus_edge.checkpoints.adapters.adapter import Adapter

Array = NDArray[Any]
WeightsKind = Literal["real", "trained-tiny", "synthetic"]
KIND_KEY = "_nexus_edge_weights"
"""A checkpoint that this project made says so in its config.json, so that nobody takes it for the real one."""


@dataclass(frozen=True)
class TensorInfo:
    """Type (`float32`, `bfloat16`, ...) and shape of one tensor of a checkpoint."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of the tensor."""
        return item_size(self.dtype) * math.prod(self.shape)


class TensorFile(Protocol):
    """One file of weights; see `Checkpoint` for the methods."""

    path: Path
    infos: Mapping[str, TensorInfo]

    def read(self, key: str) -> Array: ...

    def rows(self, key: str, start: int, stop: int) -> Array: ...

    def release(self, key: str) -> None: ...


class Checkpoint(Protocol):
    """A source of named tensors that are handed out one at a time.

    Arrays are read-only and may be views of a mapped file. A mapped page counts as resident memory from the moment it
    is touched, so a reader that walks through a whole checkpoint calls `release` after each tensor.
    """

    @property
    def name(self) -> str:
        """What the user asked for: a folder, a hub id, `tiny` or `synthetic`."""
        ...

    @property
    def revision(self) -> str | None:
        """The commit of a hub checkpoint, the generator version of a synthetic one, else None."""
        ...

    @property
    def kind(self) -> WeightsKind:
        """Where the numbers come from; results of `trained-tiny` and `synthetic` are never those of the real model."""
        ...

    @property
    def config(self) -> dict[str, Any]:
        """The parsed config.json; of an open_clip folder, what `open_clip.read_config` makes of it."""
        ...

    @property
    def folder(self) -> Path | None:
        """The folder of the checkpoint, None where there is no such folder (synthetic weights)."""
        ...

    @property
    def ignored_keys(self) -> tuple[str, ...]:
        """Keys of its configuration files that the user told to leave out, by their dotted paths."""
        ...

    @property
    def adapter(self) -> "Adapter | None":
        """What is merged into its tensors where a model sees them (`nexus_edge.models.loading.weights_of`)."""
        ...

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """The files that hold the tensors; none where they are generated."""
        ...

    def keys(self) -> Mapping[str, TensorInfo]:
        """Every tensor of the checkpoint by its key."""
        ...

    def read(self, key: str) -> Array:
        """The whole tensor."""
        ...

    def rows(self, key: str, start: int, stop: int) -> Array:
        """`tensor[start:stop]` without touching the rest."""
        ...

    def release(self, key: str) -> None:
        """Give back the memory that reading `key` took; arrays of it stay valid (their pages are read again)."""
        ...

    def processor_files(self) -> Mapping[str, bytes]:
        """What a bundle's processor folder holds, by file name: `config` and what the family's processor reads."""
        ...
