"""Do a bundle's Core ML packages come from the export that its manifest tells of, and are they all there?

Hashes of files show that nothing was changed behind the manifest's back. They do not show that a package and a manifest
that both are sound belong together; the hash of `nexus_edge.bundle.identity` does.
"""

from contextlib import suppress

from nexus_edge.bundle import Bundle
from nexus_edge.bundle.identity import KEY, PREFIX, identity
from nexus_edge.engines.coreml import ENGINE
from nexus_edge.engines.coreml.mil import MilModel
from nexus_edge.engines.coreml.parts import CoremlParts
from nexus_edge.errors import BundleError

COREML = ENGINE.target


def foreign_packages(bundle: Bundle) -> list[str]:
    """In words, what in a bundle's `coreml/` folder is of another bundle; needs neither torch nor a Mac."""
    expected = identity(bundle.manifest, COREML)
    found: dict[str, str | None] = {}
    for name, graph in bundle.manifest.graphs[COREML].items():
        package = bundle.file(graph.file).parents[2]
        if graph.program is not None:
            found[f"{name} in the manifest"] = graph.program.identity
        with suppress(BundleError):  # a package that does not load is another check's finding
            found[package.name] = MilModel.open(package).metadata.get(PREFIX + KEY)
    return [_problem(name, said, expected) for name, said in found.items() if said != expected]


def incomplete_packages(bundle: Bundle) -> list[str]:
    """In words, why a vision-language model's packages do not make a whole one, such as a chunk that appears twice."""
    packages = dict.fromkeys(bundle.file(graph.file).parents[2] for graph in bundle.manifest.graphs[COREML].values())
    if bundle.manifest.dual_encoder is not None:  # each tower is a whole
        return []
    try:
        CoremlParts.of(packages)
    except BundleError as error:
        return [str(error)]
    return []


def _problem(name: str, said: str | None, expected: str) -> str:
    if said is None:
        return f"{name} does not say which bundle it belongs to"
    return f"{name} belongs to another bundle: its {KEY} is {said:.12}..., the manifest's is {expected:.12}..."
