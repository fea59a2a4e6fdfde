"""A recipe says what an export makes: targets, and for each graph how its weights are stored, layer by layer.

Recipes are TOML files in export/<model>/<name>.toml, or the user's own; `extends` takes over another recipe.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from nexus_edge._arguments import resolved
from nexus_edge._resources import calibration_dir, recipe_names, recipes_dir
from nexus_edge._toml import read_toml
from nexus_edge._typed import choose, read, suggest
from nexus_edge.axes import deployments, targets
from nexus_edge.compare.budgets import BUDGETS, read_budgets
from nexus_edge.errors import RecipeError
from nexus_edge.quant.schemes import available_schemes

CacheDtype = Literal["float32"]


@dataclass(frozen=True)
class GraphRecipe:
    """How one graph is stored.

    Attributes:
        scheme: of every Linear and Embedding weight; norms, biases and the patch convolution stay float32
        overrides: fnmatch pattern on the module's full name -> scheme; the last match wins
        kv_cache: type of cached keys and values; None for a graph without a cache
        calibration: text of quant/calibration by which the graph's layers are equalized before they are quantized; None
            leaves them as they are
    """

    scheme: str
    overrides: Mapping[str, str] = field(default_factory=dict)
    kv_cache: CacheDtype | None = None
    calibration: str | None = None


@dataclass(frozen=True)
class Recipe:
    """A resolved recipe.

    Attributes:
        name: default folder name of the bundle
        description: one line for people
        model_type: of the checkpoints it fits
        checkpoint: hub id that is exported unless the user names another
        targets: what is written
        graphs: by graph name
        deployment: oldest system that the files of a target must load on (`TargetInfo.deployments`); None: what the
            weights allow
        gates: how much worse than its baseline a bundle may be, by the names of `compare.budgets.BUDGETS`
    """

    name: str
    description: str
    model_type: str
    checkpoint: str
    targets: tuple[str, ...]
    graphs: Mapping[str, GraphRecipe]
    deployment: str | None = None
    gates: Mapping[str, float] = field(default_factory=dict)

    def scheme_for(self, graph: str, fqn: str) -> str:
        """Name of the scheme for the weight of module `fqn` (such as `model.layers.0.mlp.down_proj`) in `graph`."""
        recipe = self.graphs[graph]
        matches = [scheme for pattern, scheme in recipe.overrides.items() if fnmatchcase(fqn, pattern)]
        return matches[-1] if matches else recipe.scheme

    def unused_overrides(self, fqns: Mapping[str, Iterable[str]]) -> list[str]:
        """Patterns that match no module, as `graph: pattern`: most likely misspelt.

        Args:
            fqns: graph -> full names of its modules
        """
        unused = []
        for graph, recipe in self.graphs.items():
            names = list(fqns.get(graph, ()))
            for pattern in recipe.overrides:
                if not any(fnmatchcase(name, pattern) for name in names):
                    unused.append(f"{graph}: {pattern}")
        return unused

    def calibrated(self, name: str) -> "Recipe":
        """The same recipe as a manifest tells it where graphs were calibrated on something else, called `name`."""
        graphs = {
            key: graph if graph.calibration is None else replace(graph, calibration=name)
            for key, graph in self.graphs.items()
        }
        return replace(self, graphs=graphs)

    def with_targets(self, targets: Sequence[str]) -> "Recipe":
        """The same recipe for these targets only.

        Raises:
            RecipeError: an unknown target, or one twice.
        """
        return replace(self, targets=_targets(targets, self.name))

    def to_json(self) -> dict[str, Any]:
        """Plain data for the manifest and for `--dry-run`."""
        return asdict(self)


def find_recipe(model: str, name: str) -> Recipe:
    """The recipe export/<model>/<name>.toml that comes with nexus-edge.

    Raises:
        RecipeError: there is no such model or recipe.
    """
    known = recipe_names()
    if model not in known:
        raise RecipeError(f"no model {model!r}{suggest(model, known)}")
    if name not in known[model]:
        raise RecipeError(f"{model} has no recipe {name!r}{suggest(name, known[model])}")
    return read_recipe(recipes_dir() / model / f"{name}.toml")


def read_recipe(path: Path) -> Recipe:
    """Read and validate a recipe file.

    Raises:
        RecipeError: the file cannot be read, or a key, type, scheme, target or `extends` is wrong.
    """
    table = _resolve(path, ())
    if not table.get("graphs"):
        raise RecipeError(f"{path}: graphs is missing; copy a recipe of {recipes_dir()} and change it")
    if isinstance(table.get("gates"), dict):
        read_budgets(table["gates"], f"{path}: gates")  # says more of a limit than its type does
    recipe = read(table, Recipe, str(path), RecipeError)
    _check_folder_name(recipe.name, path)
    _targets(recipe.targets, str(path))
    if recipe.deployment is not None:
        choose(recipe.deployment, deployments(), f"{path}: deployment", RecipeError)
    for name, graph in recipe.graphs.items():
        _check_graph(graph, f"{path}: graphs.{name}")
    return recipe


def read_gates(path: Path) -> dict[str, float]:
    """The `[gates]` of a file of their own, or of a recipe with those of what it extends.

    Raises:
        RecipeError: the file cannot be read, has no gates or a wrong one, or has something else and is no recipe
    """
    table = read_toml(path, RecipeError)
    others = table.keys() - {"gates"}
    if others & {"extends", "model_type"}:
        limits = dict(read_recipe(path).gates)
    elif strange := min(others, default=None):
        help_ = "; write [gates] above it" if strange in BUDGETS else suggest(strange, ["gates"])
        raise RecipeError(f"{path}: unknown key {strange!r}{help_}")
    else:
        gates = table.get("gates")
        limits = read_budgets(gates if isinstance(gates, dict) else {}, f"{path}: gates")
    if not limits:
        raise RecipeError(f"{path}: has no [gates]; known are {', '.join(BUDGETS)}")
    return limits


def _targets(names: Sequence[str], where: str) -> tuple[str, ...]:
    for name in names:
        if name not in targets():
            raise RecipeError(f"{where}: targets: {name!r}{suggest(name, targets())}")
    if not names or len(set(names)) != len(names):
        raise RecipeError(f"{where}: targets must name each target once")
    return tuple(names)


def _check_graph(graph: GraphRecipe, where: str) -> None:
    schemes = available_schemes()
    choose(graph.scheme, schemes, f"{where}: scheme", RecipeError)
    for pattern, scheme in graph.overrides.items():
        choose(scheme, schemes, f"{where}: overrides: {pattern}", RecipeError)
    if graph.calibration is not None:
        texts = sorted(path.stem for path in calibration_dir().glob("*.txt"))
        choose(graph.calibration, texts, f"{where}: calibration", RecipeError)


def _check_folder_name(name: str, path: Path) -> None:
    if not name or name.startswith(".") or not all(char.isalnum() or char in "-_." for char in name):
        raise RecipeError(f"{path}: name {name!r:.60} must be letters, digits, '-', '_' and '.'")


def _resolve(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The file's table, laid over the one it extends."""
    table = read_toml(path, RecipeError)
    base = table.pop("extends", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise RecipeError(
            f"{path}: extends must be a string: a file beside this one, or a name like phi3-vision/int4.toml"
        )
    source = path.parent / base if (path.parent / base).is_file() else recipes_dir() / base
    if resolved(source) in seen:
        raise RecipeError(f"{path}: extends leads back to this file")
    return _merged(_resolve(source, (*seen, resolved(path))), table)


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merge; anything else is replaced, and moves to the end so that a later pattern still wins."""
    result = dict(base)
    for key, value in top.items():
        old = result.pop(key, None)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
