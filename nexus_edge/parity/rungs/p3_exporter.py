"""P3: the quantized artefact against the quantized PyTorch model with the very same codes and scales.

The price of the scheme is in both, so what remains is the exporter's error and the kernels' rounding.
"""

from collections.abc import Mapping
from pathlib import Path

from nexus_edge.engines.probes import runner_of
from nexus_edge.parity.graphs import GraphJudges, compare_graphs
from nexus_edge.parity.per_target import for_each_target, reference_for
from nexus_edge.parity.references import Reference
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.run import ParityRun
from nexus_edge.runtimes.hosts import host_maker

TITLE = "exporter: the artefact against quantized PyTorch, same weights"


def judge(run: ParityRun) -> list[Check]:
    """Every graph of every target on the inputs that the quantized PyTorch model gave it."""
    return for_each_target(run, lambda target: _compare(run, target))


def _compare(run: ParityRun, target: str) -> list[Check]:
    files = {name: run.bundle.file(info.file) for name, info in run.manifest.graphs[target].items()}
    reference = reference_for(target)
    alone = run.kind.reference_bytes(run, reference)
    beside = 0 if run.kind.streams else alone
    needed = max(alone, beside + _runtime_bytes(run, target, reference, files))
    run.memory.require(needed, "the quantized model in PyTorch and in the runtime")
    run.references.make_room(needed)
    return compare_graphs(run, reference, target, files, GraphJudges(run.judges, "P3", target))


def _runtime_bytes(run: ParityRun, target: str, reference: Reference, files: Mapping[str, Path]) -> int:
    """Of graphs that come in pieces one piece, of others the runtime's copy; the largest is in pieces if any is."""
    pieces = [part.pieces is not None for part in runner_of(target).counterparts(files, host_maker(run.bundle))]
    weights = {info.weights for info in run.manifest.graphs[target].values() if info.weights}
    sizes = sorted(run.bundle.file(name).stat().st_size for name in weights)
    if not any(pieces):
        return sum(sizes)
    return run.kind.reference_bytes(run, reference) + (0 if all(pieces) else sum(sizes[:-1]))
