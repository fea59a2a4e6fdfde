"""The graphs of the target openvino in full precision; a graph that is judged layer by layer has no weights."""

from dataclasses import replace
from pathlib import Path

from nexus_edge.checkpoints import Checkpoint
from nexus_edge.pipeline import export as pipeline
from nexus_edge.pipeline.plan import make_plan
from nexus_edge.pipeline.weights import StoredTensor, write_weights
from nexus_edge.recipe import Recipe
from nexus_edge.targets.base import make_target

OPENVINO = "openvino"


def comes_in_pieces(graph: str) -> bool:
    """Whether a graph of the split is compiled layer by layer, see openvino_pieces.py."""
    return graph == "decoder"


def write_without_weights(checkpoint: Checkpoint, recipe: Recipe, folder: Path) -> dict[str, Path]:
    """Graph of the target -> its .xml; in one that comes in pieces every weight is an input under its name.

    Args:
        checkpoint: whose model it is; weights of the other graphs are read, a tensor at a time
        recipe: with every weight in float32
        folder: is made
    """
    plan = make_plan(checkpoint, recipe)
    targets = {OPENVINO: make_target(OPENVINO, recipe, plan.specs)}
    pipeline.translate_graphs(plan, targets, lambda step, share: None)
    constants = plan.quantized.constants().keys()
    stored: dict[str, StoredTensor] = {}
    folder.mkdir(parents=True)
    for spec in plan.specs:
        for file in targets[OPENVINO].weights_files(spec.name):
            left_out = file.tensors if comes_in_pieces(spec.name) else constants | stored.keys()
            wanted = replace(file, tensors=file.tensors - left_out)
            stored |= write_weights(
                checkpoint, plan.full, plan.quantized, wanted, folder, lambda done, total: None, importance={}
            )
    manifest = pipeline.describe(checkpoint, recipe, plan)
    written = pipeline.write_targets(checkpoint, plan, targets, {OPENVINO: stored}, manifest, folder)
    return {name: folder / info.file for name, info in written.graphs[OPENVINO].items()}
