"""The formats that an export can write: one folder each, found by scanning.

A folder's `__init__.py` has a `TARGET` (see `nexus_edge.interfaces.target.TargetInfo`) and imports no torch; its
target.py does the work. `nexus_edge.axes.targets` lists them.

tracing.py    what torch.export wants to know of a graph
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nexus_edge._extras import needs_extra
from nexus_edge.axes import targets

if TYPE_CHECKING:
    from nexus_edge.interfaces.graph import GraphSpec
    from nexus_edge.interfaces.target import Target
    from nexus_edge.recipe import Recipe

__all__ = ["make_target"]


def make_target(name: str, recipe: "Recipe", specs: "Sequence[GraphSpec]") -> "Target[Any]":
    """The writer of a format for the graphs of a recipe.

    Raises:
        MissingExtraError: a package that it needs is not installed
        RecipeError: the format cannot hold what the recipe asks for
    """
    with needs_extra(f"target {name}", targets()[name].extra):
        made: Target[Any] = import_module(f"nexus_edge.targets.{name}.target").make(recipe, specs)
    return made
