"""Which systems can load a model's weights as compressed constants."""

from collections.abc import Sequence

from torch import nn

from nexus_edge.errors import RecipeError
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.quant.linear import QuantEmbedding, QuantLinear
from nexus_edge.recipe import Recipe
from nexus_edge.targets.coreml import TARGET
from nexus_edge.targets.coreml.family import StaticSplit

IOS_BLOCKS = 18
"""Constants in blocks, states, several functions in a package, attention as one op."""

IOS_ROWS = 17
"""The oldest system that anything here is written for; it has one scale per output channel."""


def require_ios(recipe: Recipe, specs: Sequence[GraphSpec], family: StaticSplit) -> None:
    """Check that a recipe's weights and its model can be packages for its `deployment`, which it names.

    Raises:
        RecipeError: they cannot; it names the layer, its scheme and the system
    """
    assert recipe.deployment is not None
    ios = TARGET.deployments[recipe.deployment]
    where = f'{recipe.name}: deployment = "{recipe.deployment}"'
    if ios < family.ios:
        raise RecipeError(f"{where}: {recipe.model_type} needs iOS {family.ios} (macOS 15) for {family.reason}")
    root = specs[0].module.root
    assert isinstance(root, nn.Module)
    for name, module in root.named_modules():
        if isinstance(module, QuantLinear | QuantEmbedding) and _oldest(module) > ios:
            raise RecipeError(
                f"{where}: {name} has the scheme {module.scheme.name}, whose groups need iOS {IOS_BLOCKS} (macOS 15); "
                'take a scheme with one scale per output channel such as "int8", or a newer deployment'
            )


def oldest_ios(root: nn.Module) -> int:
    """The oldest major version that can hold every quantized layer of a module."""
    return max((_oldest(module) for module in root.modules()), default=IOS_ROWS)


def _oldest(module: nn.Module) -> int:
    if isinstance(module, QuantLinear):
        return IOS_ROWS if module.scheme.is_float or module.scheme.per_channel else IOS_BLOCKS
    if isinstance(module, QuantEmbedding):
        return IOS_ROWS if module.scheme.bits >= 8 else IOS_BLOCKS
    return IOS_ROWS
