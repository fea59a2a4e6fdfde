"""A target: a format that an export can write, one folder of `nexus_edge/targets/` each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from nexus_edge.interfaces.quantizer import Encoding

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from nexus_edge.bundle import GraphInfo, Manifest
    from nexus_edge.interfaces.graph import GraphSpec
    from nexus_edge.models.base import ReferenceModel

Flavour = Literal["dynamic", "static"]
"""Of the graphs of a model: with sizes that vary from call to call, or programs of fixed sizes."""


@dataclass(frozen=True)
class TargetInfo:
    """What is known of a format before anything is imported: `TARGET` of `nexus_edge/targets/<name>/__init__.py`.

    `nexus_edge.targets.<name>.target` then has `make(recipe, specs) -> Target`; it may raise RecipeError for what the
    format cannot hold of just these graphs.

    Attributes:
        name: of the folder, of the bundle's folder, and what recipes call it
        title: as people write it
        extra: of pyproject.toml, which an export for it needs beside `export`
        flavour: of the graphs that it is written from
        encodings: of the weights that it can hold
        kv: whether the decoder's cache goes in and out of the graph, or stays in it as its state
        deployments: oldest system that its files are to load on, as a recipe names it -> a version of the format's own
        repeats_weights: whether its files hold the numbers a second time, in the format's own spelling
        sealed: whether its files name the bundle that they are of, so that none of them can be taken out of it
        graph_file: the file of a graph in a bundle, with {} for the graph's name; None: not one file for each
    """

    name: str
    title: str
    extra: str
    flavour: Flavour
    encodings: frozenset[Encoding]
    kv: Literal["io", "state"]
    deployments: Mapping[str, int] = field(default_factory=dict)
    repeats_weights: bool = False
    sealed: bool = False
    graph_file: str | None = None


@dataclass(frozen=True)
class WeightsFile:
    """A safetensors file that a target wants for a graph.

    Attributes:
        file: relative to the bundle
        tensors: parameters and buffers of the quantized model
        extra: small tensors of the target's own
    """

    file: str
    tensors: frozenset[str]
    extra: "Mapping[str, NDArray[Any]]"


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor's bytes lie: the file, type by numpy's name, offset and size in bytes."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True)
class StoredWeights:
    """The weights of all graphs, as one target reads them.

    Attributes:
        tensors: where each tensor lies in the target's own files, by its name in the model
        constants: small tensors that are no weights, by name in the model
        schemes: per graph of the split, in words how its weights are stored
    """

    tensors: Mapping[str, StoredTensor]
    constants: "Mapping[str, Tensor]"
    schemes: Mapping[str, str]


@dataclass(frozen=True)
class ExportedModel:
    """The model whose graphs are written.

    Attributes:
        manifest: as far as it is known before graphs are written: no graphs, no files, no dual_encoder
        model: quantized, on the meta device
        processor_files: of the checkpoint, by name; in the bundle's `processor/` too
        logit_scale: of a dual encoder the factor of its cosines, None for others
    """

    manifest: "Manifest"
    model: "ReferenceModel"
    processor_files: Mapping[str, bytes]
    logit_scale: float | None


ReadWeight = Callable[[str], "NDArray[Any]"]
"""The tensor of a name, as it is stored for a target."""

CompanionWriter = Callable[[Path, ExportedModel, ReadWeight], None]
"""Writes what another runtime reads beside the graphs, into their folder; `processor/` lies beside that. It writes the
same for the same model, which is how parity sees whether anybody has changed them."""


class Translated(Protocol):
    """A graph of the model's split in a format's operators, still without weights: a value that `write` takes."""

    @property
    def graph(self) -> str:
        """Its name in the split."""

    @property
    def files(self) -> Sequence[WeightsFile]:
        """The tensors that it uses, in the files that the format wants them in."""


T = TypeVar("T", bound=Translated)


class Target(Protocol[T]):
    """A format's way to write the graphs of one model: each is translated, the weights are stored, and then all are
    written. It remembers nothing between these calls.

    Attributes:
        companions: writers of what other runtimes read beside the graphs
    """

    @property
    def companions(self) -> Sequence[CompanionWriter]: ...

    def weight_files(self, spec: "GraphSpec") -> int:
        """How many files a graph's weights go into; known before it is translated."""

    def translate(self, spec: "GraphSpec") -> T:
        """A graph in the format's operators; takes seconds and no weights."""

    def write(
        self, root: Path, graphs: Sequence[T], weights: StoredWeights, exported: ExportedModel
    ) -> "dict[str, GraphInfo]":
        """Write graphs into a folder of their own, named like the target, in the bundle's folder.

        Args:
            root: the bundle's folder; weights files and `processor/` are there already
            graphs: all of the model, in the order of its split
            weights: where the tensors of `files` lie now
            exported: what they are graphs of

        Returns:
            graph, by the name that the manifest gives it, -> its file, inputs and outputs
        """
