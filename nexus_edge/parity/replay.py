"""Replays a bundle's goldens with ONNX Runtime: what `nexus-edge verify` does on a device.

Needs the base install only: no torch, no onnx, no safetensors. Every stage works on what the stage before it made, from
the stored picture to greedy tokens; the first stage that drifts is named.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from nexus_edge import processing
from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import SafetensorsFile
from nexus_edge.errors import BundleError
from nexus_edge.parity import tolerances
from nexus_edge.parity.answers import Answer, greedy_check
from nexus_edge.parity.cases import with_crops
from nexus_edge.parity.metrics import Array, compare_logits
from nexus_edge.parity.report import Check, Report, Rung
from nexus_edge.parity.sampling import FILE, sample
from nexus_edge.parity.sources import report_of, scheme_class
from nexus_edge.parity.stages import Judge, OnnxStage, Values, in_order
from nexus_edge.processing import Processor

TITLE = "verify: stored goldens, replayed here"
GOLDENS = f"parity/{FILE}"
GRAPHS = ("vision_encoder", "embed_tokens", "decoder")


@dataclass(frozen=True)
class Golden:
    """One recorded case."""

    name: str
    prompt: str
    pictures: list[Image.Image]
    values: Values


def verify(bundle: str | os.PathLike[str] | Bundle) -> Report:
    """Compare every file of a bundle with its hash, then run every recorded case here.

    The report's `verdict` is "passed" or "rejected", and its `first_failure` names the stage that drifts.

    Raises:
        BundleError: no bundle, a changed file, or no goldens.
        ParityError: a graph does not load or run here.
    """
    return replay(Bundle.open(bundle.root if isinstance(bundle, Bundle) else bundle, check="sha256"))


def replay(bundle: Bundle, target: str = "onnx") -> Report:
    """Run every recorded case; the report has the single rung "verify".

    Raises:
        BundleError: the bundle has no goldens.
        ParityError: a graph does not load or run here.
    """
    manifest, started = bundle.manifest, time.perf_counter()
    scheme = scheme_class(manifest, target=target)
    gates = tolerances.load()
    judge = Judge(
        lambda stage: gates.gate("verify", stage, target, scheme, manifest.source.weights), gates.near_tie(scheme)
    )
    stages = {name: OnnxStage(bundle.graph(target, name)) for name in GRAPHS}
    processor = processing.from_checkpoint(bundle.root)
    checks = [check for golden in read_goldens(bundle) for check in _replay(golden, processor, stages, judge)]
    rung = Rung("verify", TITLE, tuple(checks), seconds=round(time.perf_counter() - started, 3))
    return report_of(manifest, (rung,), target)


def read_goldens(bundle: Bundle) -> list[Golden]:
    """The recorded cases, in the order of their names.

    Raises:
        BundleError: there are none: the bundle was exported without the parity ladder.
    """
    if GOLDENS not in bundle.manifest.files:
        raise BundleError(f"{bundle.root}: holds no goldens; run `nexus-edge parity --update` where its checkpoint is")
    file = SafetensorsFile(bundle.file(GOLDENS))
    cases: dict[str, dict[str, Array]] = {}
    for key in sorted(file.infos):
        case, _, name = key.partition(".")
        cases.setdefault(case, {})[name] = file.read(key)
    return [
        Golden(
            name=case,
            prompt=bytes(values.pop("prompt")).decode(),
            pictures=[Image.fromarray(values.pop(name)) for name in sorted(values) if name.startswith("picture.")],
            values=values,
        )
        for case, values in cases.items()
    ]


def _replay(golden: Golden, processor: Processor, stages: dict[str, OnnxStage], judge: Judge) -> Iterator[Check]:
    inputs: Any = with_crops(processor, int(golden.values["num_crops"][0]))(golden.prompt, golden.pictures)
    decoder = stages["decoder"]
    hidden = stages["embed_tokens"].inputs["image_features"].shape[-1]
    features: Array = np.zeros((0, hidden), np.float32)
    if golden.pictures:
        yield from _check(judge, "crops", golden, inputs)
    yield _tokens(golden, inputs["input_ids"], judge)
    if golden.pictures:
        pixels = {name: inputs[name] for name in ("pixel_values", "image_sizes")}
        values = stages["vision_encoder"].run(pixels)
        yield from _check(judge, "vision_encoder", golden, values)
        features = values["image_features"]
    embedded = stages["embed_tokens"].run({"input_ids": inputs["input_ids"], "image_features": features})
    yield from _check(judge, "embed_tokens", golden, embedded)
    values = decoder.run(_decoder_inputs(decoder, embedded["inputs_embeds"], {}))
    yield from _check(judge, "decoder", golden, values)
    if "full_precision_logits" in golden.values:
        measures = compare_logits(values["logits"][:, -1], golden.values["full_precision_logits"], judge.near_tie)
        yield Check("logits of full precision", "logits", golden.name, measures)
    expected = Answer(golden.values["greedy_ids"].tolist(), golden.values["greedy_margins"].tolist(), np.zeros(0))
    answer = _answer(stages, values, len(expected.ids), features[:0])
    yield greedy_check("greedy tokens", golden.name, answer, expected, judge)


def _check(judge: Judge, stage: str, golden: Golden, values: Values) -> list[Check]:
    """What the golden holds of this stage's values."""
    recorded = {name: golden.values[name] for name in in_order(list(values)) if name in golden.values}
    recorded.pop("input_ids", None)
    return judge.check(stage, golden.name, {name: sample(name, values[name]) for name in recorded}, recorded)


def _tokens(golden: Golden, ids: Array, judge: Judge) -> Check:
    expected = golden.values["input_ids"]
    differ = float((ids != expected).sum()) if ids.shape == expected.shape else float(max(ids.size, expected.size))
    return Check("tokens", "input_ids", golden.name, {"mismatches": differ}, judge.gate("tokens"))


def _decoder_inputs(decoder: OnnxStage, embeds: Array, before: Values) -> Values:
    """Embeddings, a mask of ones, and as the past what the call `before` presents (nothing, at first)."""
    past = {}
    for name, value in decoder.inputs.items():
        if name.startswith("past_key_values."):
            empty = np.zeros((len(embeds), value.shape[1], 0, value.shape[3]), np.float32)
            past[name] = before.get(name.replace("past_key_values", "present"), empty)
    length = embeds.shape[1] + next(iter(past.values())).shape[2]
    return {"inputs_embeds": embeds, "attention_mask": np.ones((len(embeds), length), np.int64), **past}


def _answer(stages: dict[str, OnnxStage], values: Values, tokens: int, no_features: Array) -> Answer:
    """As many greedy tokens as were recorded, from the values of the prompt's decoder call."""
    decoder, ids = stages["decoder"], [int(values["logits"][0, -1].argmax())]
    while len(ids) < tokens:
        embedded = stages["embed_tokens"].run({"input_ids": np.array([ids[-1:]]), "image_features": no_features})
        values = decoder.run(_decoder_inputs(decoder, embedded["inputs_embeds"], values))
        ids.append(int(values["logits"][0, -1].argmax()))
    return Answer(ids, [], np.zeros(0))
