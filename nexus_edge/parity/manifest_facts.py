"""Where manifest.json says something else than the bundle's own files: what P0 and `verify` hold against each other.

Without torch: a family's facts come from `processor/`, and how weights are stored from the recipe.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

from nexus_edge.bundle import Bundle, GraphInfo, Manifest
from nexus_edge.errors import CheckpointError
from nexus_edge.processing import dual_from_checkpoint, open_any
from nexus_edge.runtimes import manifest_check
from nexus_edge.runtimes.manifest_check import description_problems

SINCE = 3  # the format of manifests that tell runtimes facts
WEIGHTS = (".safetensors", ".bin")  # beside a graph, with its name


def facts_problems(bundle: Bundle) -> list[str]:
    """What a load asks, and all facts: those that are not the files', by name."""
    manifest = bundle.manifest
    lacking = manifest.facts is None and manifest.format_version >= SINCE
    try:
        processor = open_any(bundle.root)
        found = description_problems(bundle, processor, frames=True)
    except CheckpointError as error:
        found = [str(error)]
    return ["facts are null; a bundle of this format has them", *found] if lacking else found


def tower_problems(bundle: Bundle) -> list[str]:
    """What a load asks of the two towers."""
    try:
        return manifest_check.tower_problems(bundle.manifest, dual_from_checkpoint(bundle.root))
    except CheckpointError as error:
        return [str(error)]


def graph_problems(manifest: Manifest, target: str) -> list[str]:
    """Schemes that the recipe does not have, and weights that a graph's entry does not name, in words."""
    return [text for name, info in manifest.graphs[target].items() for text in _of_graph(manifest, name, info)]


def _of_graph(manifest: Manifest, name: str, info: GraphInfo) -> Iterator[str]:
    recipes = manifest.recipe.get("graphs", {})
    # A target's own graphs may be parts of those of the recipe, or several of them in one.
    chosen = [recipes[name]] if name in recipes else recipes.values()
    allowed = {scheme for recipe in chosen for scheme in (recipe["scheme"], *recipe["overrides"].values())}
    foreign = [word for word in info.scheme.split(", ") if word not in allowed]
    if foreign and info.weights is not None:
        yield f"{name}: scheme {foreign[0]!r:.40} is not the recipe's, which has {', '.join(sorted(allowed)) or 'none'}"
    if info.weights is None:
        beside = [str(PurePosixPath(info.file).with_suffix(ending)) for ending in WEIGHTS]
        yield from (f"{name}: weights are null, and {file} is there" for file in beside if file in manifest.files)
