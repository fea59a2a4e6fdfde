"""What works with what, from the registries: family, target, scheme, and who runs the result.

python -m nexus_edge.pipeline.support docs/support.md
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from nexus_edge._resources import recipe_names
from nexus_edge.axes import engines_of, targets
from nexus_edge.errors import MissingExtraError, NexusEdgeError
from nexus_edge.families import families
from nexus_edge.interfaces.family import Family
from nexus_edge.interfaces.target import TargetInfo
from nexus_edge.pipeline.preflight import require_flavour
from nexus_edge.quant.registry import find_quantizer
from nexus_edge.quant.schemes import Scheme, available_schemes, load_scheme
from nexus_edge.recipe import Recipe, find_recipe
from nexus_edge.targets import make_target

COMMAND = "python -m nexus_edge.pipeline.support docs/support.md"
HEAD = f"""# What works with what

Made from the registries by `{COMMAND}`; do not edit it.
A "yes" says that an export is offered; the parity ladder decides about each bundle. What was measured, on which
weights, and what never ran on the system that it is for, is said in `README.md` and on the pages of `export/`.
"""
KINDS = {"vlm": "answers questions about images", "dual_encoder": "embeds images and texts"}


def page() -> str:
    """The whole page, in Markdown.

    Raises:
        MissingExtraError: a package of a target is not installed, so nobody can say what it takes
    """
    return "\n".join([HEAD, *_models(), "", *_recipes(), "", *_schemes(), ""])


def recipes_of(family: Family) -> dict[str, Recipe]:
    """`model/name` as a user writes it -> recipe that comes with nexus-edge, of one family, by name."""
    found = {f"{model}/{name}": find_recipe(model, name) for model, names in recipe_names().items() for name in names}
    return {name: recipe for name, recipe in found.items() if recipe.model_type == family.model_type}


def refusal(family: Family, target: TargetInfo) -> str | None:
    """Why a family cannot be exported for a target, in the words that a user would read; None: it can.

    Raises:
        MissingExtraError: the target's package is not installed
    """
    for recipe in recipes_of(family).values():
        chosen = recipe.with_targets([target.name])
        try:
            require_flavour(chosen, target)
            make_target(target.name, chosen, ())
        except MissingExtraError:
            raise
        except NexusEdgeError as error:
            return str(error).removeprefix(f"{recipe.name}: target {target.name}: ").partition(";")[0]
        return None
    return "there is no recipe for it yet"


def runners(family: Family, target: TargetInfo) -> list[str]:
    """Titles of what runs the graphs: the engines of this package, then the runtimes of others."""
    own = [info.title for info in engines_of([target.name]) if family.kind in info.modules]
    return [f"nexus-edge ({', '.join(own)})", *family.clients.get(target.name, ())]


def _models() -> Iterator[str]:
    yield "## Families and targets\n"
    yield _row(["family", "what it does", "target", "exported", "runs in"])
    yield _row(["---"] * 5)
    for family in families().values():
        for info in targets().values():
            why = refusal(family, info)
            made = ["yes", ", ".join(runners(family, info))] if why is None else [f"no: {why}", ""]
            yield _row([family.title, KINDS[family.kind], info.title, *made])


def _recipes() -> Iterator[str]:
    yield "## Recipes\n\n`nexus-edge export MODEL --RECIPE`; the schemes are those of each graph, overrides included.\n"
    yield _row(["family", "recipe", "schemes"])
    yield _row(["---"] * 3)
    for family in families().values():
        for name, recipe in recipes_of(family).items():
            yield _row([family.title, f"`{name}`", ", ".join(f"`{scheme}`" for scheme in _used(recipe))])


def _schemes() -> Iterator[str]:
    yield (
        "## Schemes and targets\n\nA scheme is an encoding and the method that chooses the codes. A target that can\n"
        "hold an encoding takes it from any method; an older system may hold fewer\n"
        "(`deployment` in `export/README.md`).\n"
    )
    yield _row(["scheme", "encoding", "method", "it measures", *(info.title for info in targets().values())])
    yield _row(["---"] * (4 + len(targets())))
    for name in available_schemes():
        scheme = load_scheme(name)
        held = ["yes" if scheme.encoding in info.encodings else "no" for info in targets().values()]
        yield _row([f"`{name}`", scheme.encoding, scheme.method, _needs(scheme), *held])


def _used(recipe: Recipe) -> list[str]:
    graphs = recipe.graphs.values()
    return sorted({name for graph in graphs for name in (graph.scheme, *graph.overrides.values())})


def _needs(scheme: Scheme) -> str:
    needs = None if scheme.is_float else find_quantizer(scheme.method).needs
    return "" if needs is None else needs.replace("_", " ")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write the page to the file that is named."""
    Path(sys.argv[1]).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
