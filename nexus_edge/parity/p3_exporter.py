"""P3: the quantized artefact against the quantized PyTorch model with the very same codes and scales.

The price of the scheme is in both, so what remains is the exporter's error and the kernels' rounding.
"""

from nexus_edge.parity.graphs import Judges, compare_graphs
from nexus_edge.parity.lab import Lab
from nexus_edge.parity.report import Check
from nexus_edge.parity.runners import runner_of
from nexus_edge.parity.sources import weight_bytes

TITLE = "exporter: the artefact against quantized PyTorch, same weights"


def run(lab: Lab) -> list[Check]:
    """Every graph of every target on the inputs that the quantized PyTorch model gave it."""
    return lab.for_each_target(lambda target: _compare(lab, target))


def _compare(lab: Lab, target: str) -> list[Check]:
    files = {name: lab.bundle.file(info.file) for name, info in lab.manifest.graphs[target].items()}
    reference = lab.reference_for(target)
    # Beside the PyTorch model a piece of the runtime, or its copy of the whole graph.
    in_pieces = all(part.pieces is not None for part in runner_of(target).counterparts(files))
    needed = lab.reference_bytes(reference) * (2 if in_pieces else 1) + (0 if in_pieces else weight_bytes(lab.bundle))
    lab.require_memory(needed, "the quantized model in PyTorch and in the runtime")
    lab.make_room(needed)
    return compare_graphs(lab, reference, target, files, Judges(lab, "P3", target))
