"""P3: the quantized artefact against the quantized PyTorch model with the very same codes and scales.

The price of the scheme is in both, so what remains is the exporter's error and the kernels' rounding.
"""

from collections.abc import Mapping
from pathlib import Path

from nexus_edge.engines.probes import runner_of
from nexus_edge.parity.graphs import Judges, compare_graphs
from nexus_edge.parity.lab import Lab, Reference
from nexus_edge.parity.report.report import Check

TITLE = "exporter: the artefact against quantized PyTorch, same weights"


def run(lab: Lab) -> list[Check]:
    """Every graph of every target on the inputs that the quantized PyTorch model gave it."""
    return lab.for_each_target(lambda target: _compare(lab, target))


def _compare(lab: Lab, target: str) -> list[Check]:
    files = {name: lab.bundle.file(info.file) for name, info in lab.manifest.graphs[target].items()}
    reference = lab.reference_for(target)
    beside = 0 if lab.streams else lab.reference_bytes(reference)
    needed = max(lab.reference_bytes(reference), beside + _runtime_bytes(lab, target, reference, files))
    lab.require_memory(needed, "the quantized model in PyTorch and in the runtime")
    lab.make_room(needed)
    return compare_graphs(lab, reference, target, files, Judges(lab, "P3", target))


def _runtime_bytes(lab: Lab, target: str, reference: Reference, files: Mapping[str, Path]) -> int:
    """Of graphs that come in pieces one piece, of others the runtime's copy; the largest is in pieces if any is."""
    pieces = [part.pieces is not None for part in runner_of(target).counterparts(files)]
    weights = {info.weights for info in lab.manifest.graphs[target].values() if info.weights}
    sizes = sorted(lab.bundle.file(name).stat().st_size for name in weights)
    if not any(pieces):
        return sum(sizes)
    return lab.reference_bytes(reference) + (0 if all(pieces) else sum(sizes[:-1]))
