"""Bundles of the tiny checkpoints: rows are families, recipes and targets that an export is offered for."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_families import ROOT, Tiny

from nexus_edge.axes import engines, engines_of, targets
from nexus_edge.bundle import Bundle
from nexus_edge.families import families
from nexus_edge.pipeline.export import export
from nexus_edge.pipeline.support import recipes_of, refusal
from nexus_edge.recipe import Recipe

sys.path.append(str(ROOT / "benchmarks"))
from foreign.reuse import translated_once


@dataclass(frozen=True)
class Row:
    """One bundle; `recipe` as a user writes it."""

    model_type: str
    recipe: str
    target: str

    @property
    def name(self) -> str:
        return f"{self.model_type}-{self.recipe.replace('/', '-')}-{self.target}"

    @property
    def engines(self) -> list[str]:
        kind = families()[self.model_type].kind
        return [info.name for info in engines_of([self.target]) if kind in info.modules]


REFUSED = {
    (name, info.name): why
    for name, family in families().items()
    for info in targets().values()
    if (why := refusal(family, info)) is not None
}
"""Family and target -> why there is no export."""

EVERY_ROW = [
    Row(name, recipe, target)
    for name, family in families().items()
    for target in targets()
    if (name, target) not in REFUSED
    for recipe in recipes_of(family)
]


def in_pairs(row: Row) -> bool:
    """Whether a row is of the smaller set that has every recipe of a family, and every target of it, at least once.

    Recipes meet on the target of the first engine, as a rule of the base install; targets meet on the recipe with most
    schemes. Every scheme meets every target in `test_scheme_targets.py`.
    """
    offered = {other.target for other in EVERY_ROW if other.model_type == row.model_type}
    first = next(info.target for info in engines().values() if info.target in offered)
    recipes = recipes_of(families()[row.model_type])
    return row.target == first or row.recipe == max(recipes, key=lambda name: len(schemes_of(recipes[name])))


def schemes_of(recipe: Recipe) -> set[str]:
    return {name for graph in recipe.graphs.values() for name in (graph.scheme, *graph.overrides.values())}


ROWS = [row for row in EVERY_ROW if in_pairs(row) or os.environ.get("EVERY_ROW")]
"""What the tests run; `EVERY_ROW=1` in the environment makes it the whole product, which takes twice as long."""

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def of_kind(kind: str) -> pytest.MarkDecorator:
    """Each engine that runs such models."""
    return pytest.mark.parametrize("engine", [name for name, info in engines().items() if kind in info.modules])


def row_for(engine: str, kind: str) -> Row:
    """A bundle that the engine runs; there must be one."""
    target = engines()[engine].target
    return next(row for row in ROWS if row.target == target and families()[row.model_type].kind == kind)


class Bundles:
    """Makes each bundle once, whichever of pytest-xdist's workers asks first; others wait for it.

    Graphs that two recipes store alike are translated once.
    """

    def __init__(self, tiny_of: Callable[[str], Tiny], folder: Path) -> None:
        self._tiny_of = tiny_of
        self._root = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "contract"
        self._root.mkdir(exist_ok=True)
        self._translated: dict[Any, Any] = {}

    def __call__(self, row: Row) -> Bundle:
        """Without parity, every hash checked; read-only."""
        root, working = self._root / row.name, self._root / f"{row.name}.working"
        while not root.is_dir():
            try:
                working.mkdir()
            except FileExistsError:
                time.sleep(0.1)
                continue
            try:
                if not root.is_dir():
                    self._make(row, root)
            finally:
                working.rmdir()
        return Bundle.open(root, check="sha256")

    def _make(self, row: Row, root: Path) -> None:
        tiny = self._tiny_of(row.model_type)
        recipe = recipes_of(tiny.family)[row.recipe].with_targets((row.target,))
        with translated_once(json.dumps(tiny.checkpoint.config), self._translated):
            export(tiny.checkpoint, recipe, root, parity=False)
