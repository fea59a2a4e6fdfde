"""P2: the exported graphs with full-precision weights against the reference with the same weights.

What differs here is the exporter's translation, and nothing else: no scheme is involved.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from nexus_edge.parity.graphs import Judges, compare_graphs
from nexus_edge.parity.lab import Lab
from nexus_edge.parity.report import Check
from nexus_edge.parity.sources import full_precision, largest_graph_bytes, parameter_bytes, recipe_of

TITLE = "graph: exported full-precision graphs against the reference"

Files = Mapping[str, Path]  # graph name -> file


def run(lab: Lab) -> list[Check]:
    """Export the checkpoint in full precision to a temporary folder and compare every graph of every target."""
    # The reference; of one graph at a time the file that the kernel caches, and the runtime's own copy.
    one_graph = largest_graph_bytes(lab.source, lab.manifest.model_type)
    lab.require_memory(parameter_bytes(lab.source) + 2 * one_graph, "comparing full-precision graphs")
    with TemporaryDirectory(prefix="nexus-edge-") as folder:
        files = export_full_precision(lab, Path(folder))
        return lab.for_each_target(lambda target: compare(lab, target, files[target]))


def export_full_precision(lab: Lab, folder: Path) -> dict[str, Files]:
    """Target -> the graphs of the bundle's model with float32 weights; their weights files lie beside them."""
    from nexus_edge import pipeline

    recipe = full_precision(recipe_of(lab.manifest))
    manifest = pipeline.export(lab.source, recipe, folder / recipe.name, parity=False)
    return {
        target: {name: folder / recipe.name / info.file for name, info in graphs.items()}
        for target, graphs in manifest.graphs.items()
    }


def compare(lab: Lab, target: str, files: Files) -> list[Check]:
    """A target's exported full-precision graphs against the reference."""
    return compare_graphs(lab, lab.full, target, files, Judges(lab, "P2", target, "float32", unrounded=True))
