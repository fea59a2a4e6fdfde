"""Replays the goldens of a dual encoder: stored images and texts through the device's processing and both towers."""

import io
import json
from collections.abc import Iterator

import numpy as np
from PIL import Image

from nexus_edge import processing
from nexus_edge.engines.dual import IMAGE, TEXT
from nexus_edge.engines.probes import Stage
from nexus_edge.errors import BundleError
from nexus_edge.parity.dual_encoder.embeddings import ensemble
from nexus_edge.parity.dual_encoder.goldens import sample
from nexus_edge.parity.dual_encoder.ranking import compare_embeddings, ranking_checks, softmax
from nexus_edge.parity.goldens import effects_of
from nexus_edge.parity.kinds import Golden, Replay
from nexus_edge.parity.metrics import Array, Floats, compare
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Effects, Judge
from nexus_edge.processing import DualProcessor

RECORDED = ("image_embeds", "text_embeds")
TOGETHER = 16  # texts of similar length in one run


def replay(setup: Replay) -> list[Check]:
    """Every stage on what the stage before it made; those of text embeddings only with a text tower."""
    info = setup.bundle.manifest.dual_encoder
    if info is None:
        raise BundleError(f"{setup.bundle.root}: manifest.json has no dual_encoder; export the bundle again")
    processor = processing.dual_from_checkpoint(setup.bundle.root)
    return [check for golden in setup.goldens for check in _replay(golden, processor, setup, info.logit_scale)]


def _replay(golden: Golden, processor: DualProcessor, setup: Replay, logit_scale: float) -> Iterator[Check]:
    values, case, stages, judge = golden.values, golden.name, setup.stages, setup.judge
    effects = effects_of(golden, setup.target, setup.precision)
    given = [Image.open(io.BytesIO(bytes(values[name]))) for name in sorted(values) if name.startswith("picture.")]
    text = json.loads(bytes(values["text"]))
    pixels, ids = processor.images(given), processor.texts(text["sentences"])
    yield from judge.check("pixels", case, {"pixel_values": sample(pixels)}, {"pixel_values": values["pixel_values"]})
    yield _tokens(case, ids, values["input_ids"], judge)
    images = np.asarray(stages[IMAGE].run({"pixel_values": pixels})["image_embeds"], np.float64)
    yield _embeddings("image embeddings", case, images, values["image_embeds"], judge, effects)
    if TEXT not in stages:
        return
    sentences = _embed(stages[TEXT], ids)
    yield _embeddings("text embeddings", case, sentences, values["text_embeds"], judge, effects)
    prompts = [template.replace("{}", label) for template in text["templates"] for label in text["labels"]]
    labels = ensemble(_embed(stages[TEXT], processor.texts(prompts)), len(text["labels"]))
    found = softmax(logit_scale * images @ labels.T)
    stage = "probabilities"
    measures = compare(found, values[stage])
    yield Check(stage, stage, case, measures, judge.resolved(judge.gate(stage), stage, measures, effects))
    similarities = images @ sentences.T
    recorded_images, recorded_texts = (np.asarray(values[name], np.float64) for name in RECORDED)
    yield from ranking_checks(judge, case, similarities, recorded_images @ recorded_texts.T)
    if "full_precision_similarities" in values:
        reported = Judge(lambda stage: None, judge.near_tie)
        expected = values["full_precision_similarities"]
        yield from ranking_checks(reported, "against full precision", similarities, expected)


def _embed(stage: Stage, ids: Array) -> Floats:
    """int64 [texts, context] -> [texts, dim]"""
    lengths = (np.asarray(ids) != 0).sum(axis=1)
    order = np.argsort(lengths, kind="stable")
    rows: list[Array] = []
    for start in range(0, len(order), TOGETHER):
        part = order[start : start + TOGETHER]
        rows.append(stage.run({"input_ids": ids[part, : lengths[part].max()]})["text_embeds"])
    return np.asarray(np.concatenate(rows)[np.argsort(order)], np.float64)


def _embeddings(stage: str, case: str, rows: Floats, expected: Array, judge: Judge, effects: Effects) -> Check:
    measures = compare_embeddings(rows, expected)
    return Check(stage, stage, case, measures, judge.resolved(judge.gate(stage), stage, measures, effects))


def _tokens(case: str, ids: Array, expected: Array, judge: Judge) -> Check:
    same = ids.shape == expected.shape
    mismatches = int((ids != expected).sum()) if same else max(ids.size, expected.size)
    return Check("tokens", "input_ids", case, {"mismatches": float(mismatches)}, judge.gate("tokens"))
