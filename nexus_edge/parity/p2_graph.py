"""P2: the exported graphs with full-precision weights against the reference with the same weights.

What differs here is the exporter's translation, and nothing else: no scheme is involved.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from nexus_edge.parity.graphs import compare_graphs
from nexus_edge.parity.lab import Lab
from nexus_edge.parity.report import Check
from nexus_edge.parity.sources import full_precision, parameter_bytes, recipe_of

TITLE = "graph: exported full-precision graphs against the reference"


def run(lab: Lab) -> list[Check]:
    """Export the checkpoint in full precision to a temporary folder and compare every graph."""
    # The reference, the copy on disk that the kernel caches, and ONNX Runtime's own copy.
    lab.require_memory(3 * parameter_bytes(lab.source), "comparing full-precision graphs")
    with TemporaryDirectory(prefix="nexus-edge-") as folder:
        return compare(lab, export_full_precision(lab, Path(folder)))


def export_full_precision(lab: Lab, folder: Path) -> dict[str, Path]:
    """The graphs of the bundle's model with float32 weights, by name; their weights file lies beside them."""
    from nexus_edge import pipeline

    recipe = full_precision(recipe_of(lab.manifest))
    manifest = pipeline.export(lab.source, recipe, folder / recipe.name, parity=False)
    return {name: folder / recipe.name / info.file for name, info in manifest.graphs[lab.target].items()}


def compare(lab: Lab, files: dict[str, Path]) -> list[Check]:
    """Exported full-precision graphs against the reference."""
    judge = lab.judge("P2", scheme="float32")
    return compare_graphs(lab.full, lab.manifest.model_type, files, lab.cases, lambda graph: judge)
