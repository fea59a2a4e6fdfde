"""A few images and texts on their way through the two towers, in PyTorch: what P2 and P3 compare graphs with."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from nexus_edge.engines.dual import IMAGE, TEXT
from nexus_edge.parity.dual_encoder.run import DualRun, dual_run
from nexus_edge.parity.kinds import judged_family
from nexus_edge.parity.metrics import Array
from nexus_edge.parity.references import Reference
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.stages import Step, run_torch

BATCH = 3  # texts of a step: enough for padding of several lengths


def steps(run: ParityRun, reference: Reference) -> Iterator[Step]:
    """Each input on its way through its tower; raises NotRunError where the model would not fit."""
    from nexus_edge.parity.rounding import effect_on_graph

    model = run.references.model(reference)
    graphs = {spec.name: spec for spec in judged_family(run.manifest.model_type).split().graphs(model)}
    for graph, case, inputs in _inputs(dual_run(run)):
        expected = run_torch(graphs[graph], inputs)
        yield Step(graph, case, inputs, expected, partial(effect_on_graph, graphs[graph], inputs, expected))


def _inputs(dual: DualRun) -> Iterator[tuple[str, str, dict[str, Array]]]:
    probes, sentences = dual.evaluation_set.probes, dual.evaluation_set.sentences
    pixels = dual.processor.images([probe.image for probe in probes[:BATCH]])
    yield IMAGE, "one image", {"pixel_values": pixels[:1]}
    yield IMAGE, f"{BATCH} images", {"pixel_values": pixels}
    # Of one length without padding, of several, and one that is cut.
    for case, chosen in (
        ("one sentence", sentences[2:3]),
        (f"{BATCH} sentences", sentences[:: -(-len(sentences) // BATCH)]),
        ("a text that is cut", sentences[-1:]),
    ):
        yield TEXT, case, {"input_ids": trimmed(dual.processor.texts(chosen))}


def trimmed(ids: Array) -> Array:
    """int64 [texts, tokens] without the columns that are padding in every row, as the runtime feeds them."""
    width = int((np.asarray(ids) != 0).sum(axis=1).max())
    return ids[:, :width]
