"""The graphs of the target openvino in full precision; a graph that is judged layer by layer has no weights."""

from dataclasses import replace
from pathlib import Path

from nexus_edge.checkpoints import Checkpoint
from nexus_edge.interfaces.progress import silent, uncounted
from nexus_edge.interfaces.target import StoredTensor
from nexus_edge.pipeline.build import translate_graphs, write_graphs
from nexus_edge.pipeline.plan import make_plan
from nexus_edge.pipeline.weights import write_weights
from nexus_edge.recipe import Recipe
from nexus_edge.targets import make_target

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
    writers = {OPENVINO: make_target(OPENVINO, recipe, plan.specs)}
    graphs = translate_graphs(plan, writers, silent)
    constants = plan.quantized.constants().keys()
    stored: dict[str, StoredTensor] = {}
    folder.mkdir(parents=True)
    for translated in graphs[OPENVINO]:
        for file in translated.files:
            left_out = file.tensors if comes_in_pieces(translated.graph) else constants | stored.keys()
            wanted = replace(file, tensors=file.tensors - left_out)
            stored |= write_weights(plan.weights, plan.quantized, wanted, folder, uncounted, importance={})
    written = write_graphs(checkpoint, plan, writers, graphs, {OPENVINO: stored}, folder)
    return {name: folder / info.file for name, info in written.graphs[OPENVINO].items()}
