"""What the writer of a format offers to the pipeline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from torch import Tensor

from nexus_edge._extras import needs_extra
from nexus_edge.bundle import GraphInfo, Manifest
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.models.base import ReferenceModel
from nexus_edge.pipeline.weights import StoredTensor, WeightsFile
from nexus_edge.recipe import Recipe
from nexus_edge.targets import EXTRAS, TARGETS


@dataclass(frozen=True)
class Ingredients:
    """What the graphs of a bundle are written with.

    Attributes:
        manifest: as far as it is known before graphs are written: no graphs, no files, no dual_encoder
        model: the quantized model, on the meta device
        stored: where each tensor lies in the target's own files, by its name in the model
        constants: small tensors that are no weights, by name in the model
        schemes: per graph, in words how its weights are stored
        processor_files: of the checkpoint, by name
        logit_scale: of a dual encoder the factor of its cosines, None for others
    """

    manifest: Manifest
    model: ReferenceModel
    stored: Mapping[str, StoredTensor]
    constants: Mapping[str, Tensor]
    schemes: Mapping[str, str]
    processor_files: Mapping[str, bytes]
    logit_scale: float | None


CompanionWriter = Callable[[Path, Ingredients], None]
"""Writes what another runtime reads beside the graphs, into their folder."""


class Target(Protocol):
    """The graphs of one model in one format: first translated, without weights, then written.

    Attributes:
        repeats_weights: whether the format holds the numbers a second time, in its own spelling
    """

    repeats_weights: bool

    def weight_files(self, spec: GraphSpec) -> int:
        """How many files a graph's weights go into; known before it is translated."""

    def translate(self, spec: GraphSpec) -> None:
        """Write one graph in the format's operators; takes seconds per graph and no weights."""

    def weights_files(self, graph: str) -> Sequence[WeightsFile]:
        """What this format wants of the weights that a translated graph uses, and where."""

    def write(self, root: Path, ingredients: Ingredients) -> dict[str, GraphInfo]:
        """Write the graphs and what other runtimes read beside them; the weights files are there already."""


def make_target(name: str, recipe: Recipe, specs: Sequence[GraphSpec]) -> Target:
    """The writer of a format of `TARGETS` for the graphs of a recipe.

    Raises:
        MissingExtraError: a package that it needs is not installed
        RecipeError: the format cannot hold what the recipe asks for
    """
    with needs_extra(f"target {name}", EXTRAS[name]):
        return cast(Target, import_module(TARGETS[name]).make(recipe, specs))
