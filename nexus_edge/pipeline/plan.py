"""What an export makes of a checkpoint, before any weight is read: both models without data, and their graphs."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from nexus_edge.checkpoints import Checkpoint
from nexus_edge.errors import RecipeError
from nexus_edge.families import family_named
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.models.base import ReferenceModel
from nexus_edge.models.loading import build_empty, weights_of
from nexus_edge.quant.apply import quantize_modules
from nexus_edge.quant.registry import require_quantizer
from nexus_edge.quant.schemes import Scheme, load_scheme
from nexus_edge.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """A model on the meta device, before and after its layers were replaced as the recipe says, the weights of the
    former, and the graphs of the latter."""

    recipe: Recipe
    full: ReferenceModel
    quantized: ReferenceModel
    weights: WeightSource  # of `full`
    specs: tuple[GraphSpec, ...]
    schemes: Mapping[str, Mapping[str, Scheme]]  # graph -> module -> scheme

    def stored_bytes(self) -> dict[str, int]:
        """Bytes of the stored weights by graph; with those that a checkpoint holds and no result needs."""
        owner, constants = family_named(self.recipe.model_type).split().owner, self.quantized.constants().keys()
        sizes: Counter[str] = Counter({spec.name: 0 for spec in self.specs})
        for name, tensor in (*self.quantized.named_parameters(), *self.quantized.named_buffers()):
            if name not in constants:
                sizes[owner(name.rpartition(".")[0])] += tensor.nbytes
        return dict(sizes)

    @property
    def largest_tensor(self) -> int:
        """Bytes of the largest tensor in float32."""
        return max(parameter.numel() for parameter in self.full.parameters()) * torch.float32.itemsize


def make_plan(checkpoint: Checkpoint, recipe: Recipe) -> Plan:
    """Build the model twice without data, and replace the layers of the second as the recipe says.

    Raises:
        CheckpointError: the checkpoint does not describe a model, or lacks tensors of it.
        RecipeError: the recipe does not fit the model.
    """
    full, quantized = build_empty(checkpoint), build_empty(checkpoint)
    weights = weights_of(checkpoint, full)  # what is missing is said now, not after the graphs were translated
    split = family_named(recipe.model_type).split()
    if set(recipe.graphs) != set(split.names):
        raise RecipeError(
            f"{recipe.name}: has graphs {', '.join(recipe.graphs)}; {recipe.model_type} has {', '.join(split.names)}"
        )
    schemes: dict[str, dict[str, Scheme]] = {name: {} for name in split.names}

    def scheme_for(module: str) -> Scheme:
        graph = split.owner(module)
        schemes[graph][module] = scheme = load_scheme(recipe.scheme_for(graph, module))
        require_quantizer(scheme)
        return scheme

    quantize_modules(quantized, scheme_for)
    unused = recipe.unused_overrides(schemes)
    if unused:
        raise RecipeError(f"{recipe.name}: overrides that match no layer: {', '.join(unused)}")
    return Plan(recipe, full, quantized, weights, split.graphs(quantized), schemes)
