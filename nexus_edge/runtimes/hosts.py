"""The host of a bundle's model: what its family does between the graphs of a target."""

from collections.abc import Mapping
from pathlib import Path

from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError
from nexus_edge.families import family_named
from nexus_edge.interfaces.family import VlmFamily
from nexus_edge.interfaces.graph import Interface
from nexus_edge.interfaces.host import HostMaker, VlmHost
from nexus_edge.processing.folder import read_json


def host_maker(bundle: Bundle) -> HostMaker | None:
    """Makes the host for graphs of this bundle's model; None for models that have none."""
    family = family_named(bundle.manifest.model_type)
    if not isinstance(family, VlmFamily):
        return None
    folder = bundle.root / "processor"

    def make(graphs: Mapping[str, Interface], files: Path) -> VlmHost:
        try:
            return family.host(read_json(folder, "config.json"), graphs, files)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"missing key {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
            raise BundleError(f"{folder / 'config.json'}: {reason}; export the bundle again") from error

    return make


def host_of(bundle: Bundle, target: str) -> VlmHost:
    """The host for a target of a bundle that has this target; raises BundleError."""
    make, graphs = host_maker(bundle), bundle.manifest.graphs[target]
    if make is None:
        raise BundleError(f"{bundle.root}: {bundle.manifest.name} answers no prompts")
    interfaces = {name: Interface(info.inputs, info.outputs) for name, info in graphs.items()}
    # A package of a target is a folder itself, so that the folder of all graphs is the first of a file's path.
    return make(interfaces, bundle.root / Path(next(iter(graphs.values())).file).parts[0])
