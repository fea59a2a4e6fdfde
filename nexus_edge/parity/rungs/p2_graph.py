"""P2: the exported graphs with full-precision weights against the reference with the same weights.

What differs here is the exporter's translation, and nothing else: no scheme is involved. A graph that comes in pieces
is written without weights, and each piece gets those of the checkpoint while it runs; another is written and loaded as
a whole. So a model of any size fits where its large graphs come in pieces: in the targets onnx and openvino.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from nexus_edge.bundle.writer import BundleWriter
from nexus_edge.engines.probes import WeightOf, piecewise
from nexus_edge.families import family_named
from nexus_edge.parity.graphs import GraphJudges, compare_graphs
from nexus_edge.parity.per_target import for_each_target
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.sources import full_precision, graph_bytes, recipe_of

TITLE = "graph: exported full-precision graphs against the reference"

Files = Mapping[str, Path]  # graph name -> file


def judge(run: ParityRun) -> list[Check]:
    """Export the checkpoint in full precision to a temporary folder and compare every graph of every target.

    Raises:
        NotRunError: there is no checkpoint.
    """
    _ = run.source  # before the sizes of its model are asked for
    with TemporaryDirectory(prefix="nexus-edge-") as folder:

        def judge_target(target: str) -> list[Check]:
            run.memory.require(_needed(run, target), "comparing full-precision graphs")
            return compare(run, target, export_full_precision(run, Path(folder), target))

        return for_each_target(run, judge_target)


def export_full_precision(run: ParityRun, folder: Path, target: str) -> Files:
    """The graphs of the bundle's model in float32, for one target.

    Raises:
        NotRunError: there is no checkpoint.
    """
    from nexus_edge.pipeline.build import build
    from nexus_edge.pipeline.plan import make_plan
    from nexus_edge.targets import make_target

    recipe = full_precision(recipe_of(run.manifest)).with_targets((target,))
    in_pieces = piecewise(target)
    if in_pieces is not None:
        return in_pieces.write_without_weights(run.source, recipe, folder / target)
    root = folder / target  # of its own: two targets may be written as a whole
    plan = replace(make_plan(run.source, recipe), weights=run.weights)  # the reference's
    with BundleWriter(root) as writer:  # a bundle, because functions that take images are opened with its facts
        manifest = build(run.source, plan, {target: make_target(target, recipe, plan.specs)}, writer.root)
        writer.commit(manifest)
    return {name: root / info.file for name, info in manifest.graphs[target].items()}


def compare(run: ParityRun, target: str, files: Files) -> list[Check]:
    """A target's exported full-precision graphs against the reference."""
    judges = GraphJudges(run.judges, "P2", target, "float32", unrounded=True)
    return compare_graphs(run, "full", target, files, judges, None if piecewise(target) is None else _reader(run))


def _needed(run: ParityRun, target: str) -> int:
    """Bytes of the reference, and of the largest graph that comes whole what the kernel caches and the runtime's copy.

    A piece takes the same of one layer, which is what a streamed reference takes.
    """
    module = piecewise(target)
    names = family_named(run.manifest.model_type).split().names
    whole = [name for name in names if module is None or not module.comes_in_pieces(name)]
    reference, sizes = run.kind.reference_bytes(run, "full"), graph_bytes(run.weights, run.manifest.model_type)
    piece = 0 if len(whole) == len(names) else min(reference, max(sizes.values()))
    return reference + 2 * max(piece, *(sizes[name] for name in whole), 0)


def _reader(run: ParityRun) -> WeightOf:
    """Weights of the checkpoint by the names of the model."""
    from nexus_edge.checkpoints.tensors import take

    return lambda name: take(run.weights, name).float().numpy()
