"""P4 for dual encoders: drift through both towers, the embeddings, and what their error does to those who use them."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nexus_edge.parity.dual_encoder.ranking import (
    compare_embeddings,
    ranking_checks,
    recall_measures,
    zero_shot_measures,
)
from nexus_edge.parity.dual_encoder.run import DualRun, dual_run
from nexus_edge.parity.dual_encoder.steps import steps
from nexus_edge.parity.metrics import Values
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.samples import Similarities
from nexus_edge.parity.sources import parameter_bytes, weight_bytes
from nexus_edge.parity.stages import Judge

if TYPE_CHECKING:
    from nexus_edge.parity.dual_encoder.embeddings import Embeddings

SHOWN = 12  # images, and captions, of the report's heat map
# Balanced accuracy from which a model knows the three kinds of cells. One that tells two kinds of images apart, by
# their colour say, and names them by luck, is at 2/3: that it names them otherwise in fewer bits costs nobody anything.
KNOWN = 0.75


def compare_schemes(run: ParityRun) -> list[Check]:
    """Layers of a few inputs, then embeddings, best matches, order, and the held-out images.

    Raises:
        NotRunError: both models do not fit.
    """
    run.memory.require(parameter_bytes(run.source) + weight_bytes(run.bundle), "both models in PyTorch")
    dual, judge = dual_run(run), run.judges.judge("P4")
    full, quantized = dual.full_embeddings, dual.quantized_embeddings
    return [
        *_drift(run, judge),
        *_embeddings(judge, quantized, full),
        *_similarities(dual, judge, quantized, full),
        *_held_out(dual, judge, quantized, full),
    ]


def _drift(run: ParityRun, judge: Judge) -> list[Check]:
    """Every layer on what the layers before it made. Padding is left out: no tower reads what becomes of it."""
    checks: list[Check] = []
    for actual, expected in zip(steps(run, "quantized"), steps(run, "full"), strict=True):
        ids = expected.inputs.get("input_ids")
        ours, theirs = (_without_padding(step.expected, ids) for step in (actual, expected))
        checks += judge.check(expected.graph, expected.case, ours, theirs)
    return checks


def _without_padding(values: Values, ids: object) -> Values:
    """[texts, tokens, width] -> [words of all texts, width]"""
    if ids is None:
        return values
    words = np.asarray(ids) != 0
    return {name: value[words] if value.shape[:2] == words.shape else value for name, value in values.items()}


def _embeddings(judge: Judge, quantized: "Embeddings", full: "Embeddings") -> list[Check]:
    groups = (
        ("image embeddings", "cells"),
        ("image embeddings", "fields"),
        ("text embeddings", "sentences"),
        ("text embeddings", "captions"),
        ("text embeddings", "labels"),
    )
    checks = []
    for stage, name in groups:
        actual, expected = getattr(quantized, name), getattr(full, name)
        checks.append(
            Check(stage, name, f"{len(expected)} {name}", compare_embeddings(actual, expected), judge.gate(stage))
        )
    return checks


def _similarities(dual: DualRun, judge: Judge, quantized: "Embeddings", full: "Embeddings") -> list[Check]:
    """Fields with their captions, and all images with sentences that were written about other things."""
    pairs = (
        ("captions", quantized.fields @ quantized.captions.T, full.fields @ full.captions.T),
        ("sentences", quantized.images @ quantized.sentences.T, full.images @ full.sentences.T),
    )
    checks: list[Check] = []
    for name, actual, expected in pairs:
        checks += ranking_checks(judge, f"{name} of an image", actual, expected)
        checks += ranking_checks(judge, f"images of a text, {name}", actual.T, expected.T)
    _, shown, before = pairs[0]
    captions = dual.evaluation_set.captions[:SHOWN]
    rows = tuple(crop.path.stem for crop in dual.evaluation_set.held_out.fields[:SHOWN])
    checks[0] = replace(checks[0], similarities=Similarities.of(rows, captions, shown, before))
    return checks


def _held_out(dual: DualRun, judge: Judge, quantized: "Embeddings", full: "Embeddings") -> list[Check]:
    stage, wanted = "held-out cells", dual.evaluation_set.held_out.wanted
    measures = zero_shot_measures((quantized.cells, quantized.labels), (full.cells, full.labels), wanted)
    gate = judge.gate(stage) if measures["accuracy_reference"] >= KNOWN else None
    if gate is None:
        dual.run.note(
            "zero-shot accuracy is not gated: full precision does not know these cells; --eval takes your own data"
        )
    checks = [Check(stage, "labels", f"{len(full.cells)} cells", measures, gate)]
    stage, case = "held-out captions", f"{len(full.fields)} fields"
    found = recall_measures((quantized.fields, quantized.captions), (full.fields, full.captions))
    for direction, recalls in found.items():
        checks.append(Check(stage, direction, case, recalls, judge.gate(stage)))
    return checks
