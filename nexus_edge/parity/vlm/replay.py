"""Replays the goldens of a vision-language model: every stage works on what the stage before it made, from the stored
image to greedy tokens."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from nexus_edge import processing
from nexus_edge.bundle import Bundle
from nexus_edge.engines.probes import Stage
from nexus_edge.interfaces.parity import VlmCases
from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.parity.goldens import effects_of
from nexus_edge.parity.kinds import Golden, Replay, judged_family
from nexus_edge.parity.metrics import Array, Values, compare_logits
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Effects, Judge, in_order
from nexus_edge.parity.vlm.answers import Answer, greedy_check
from nexus_edge.parity.vlm.sampling import sample
from nexus_edge.processing import Processor


def replay(setup: Replay) -> list[Check]:
    """Every recorded case."""
    processor = processing.from_checkpoint(setup.bundle.root)
    return [
        check
        for golden in setup.goldens
        for check in _replay(golden, processor.with_most_views(int(golden.values["num_crops"][0])), setup)
    ]


def _replay(golden: Golden, processor: Processor, setup: Replay) -> Iterator[Check]:
    values, stages, judge = golden.values, setup.stages, setup.judge
    effects = effects_of(golden, setup.target, setup.precision)
    images = [Image.fromarray(values[name]) for name in sorted(values) if name.startswith("picture.")]
    inputs: Any = processor(bytes(values["prompt"]).decode(), images)
    decoder = stages["decoder"]
    hidden = int(stages["embed_tokens"].inputs["image_features"].shape[-1])
    features: Array = np.zeros((0, hidden), np.float32)
    if images:
        yield from _check(judge, "crops", golden, inputs, None)
    yield _tokens(golden, inputs["input_ids"], judge)
    if images:
        values = stages["vision_encoder"].run(vision_inputs(setup.bundle, processor, inputs))
        yield from _check(judge, "vision_encoder", golden, values, effects)
        features = values["image_features"]
    embedded = stages["embed_tokens"].run({"input_ids": inputs["input_ids"], "image_features": features})
    yield from _check(judge, "embed_tokens", golden, embedded, effects)
    values = decoder.run(decoder_inputs(decoder, embedded["inputs_embeds"], {}))
    yield from _check(judge, "decoder", golden, values, effects)
    if "full_precision_logits" in golden.values:
        measures = compare_logits(
            values["logits"][:, -1], golden.values["full_precision_logits"], judge.near_tie("logits")
        )
        yield Check("logits of full precision", "logits", golden.name, measures)
    ids, margins = (golden.values[f"greedy_{name}"].tolist() for name in ("ids", "margins"))
    expected = Answer(ids, margins, golden.values["logits"].reshape(1, -1))
    answer = _answer(stages, values, len(expected.ids), features[:0])
    yield greedy_check("greedy tokens", golden.name, answer, expected, judge)


def vision_inputs(bundle: Bundle, processor: Processor, inputs: ModelInputs) -> Values:
    """What the vision encoder takes of the images of a prompt that has some, by name."""
    cases = judged_family(bundle.manifest.model_type).parity()
    assert isinstance(cases, VlmCases), "only vision-language models have images in prompts"
    return cases.vision_inputs(processor, inputs["pixel_values"], inputs["image_sizes"])


def _check(judge: Judge, stage: str, golden: Golden, values: Values, effects: Effects | None) -> list[Check]:
    """What the golden holds of this stage's values."""
    recorded = {name: golden.values[name] for name in in_order(list(values)) if name in golden.values}
    recorded.pop("input_ids", None)
    found = {name: sample(name, values[name]) for name in recorded}
    return judge.check(stage, golden.name, found, recorded, effects)


def _tokens(golden: Golden, ids: Array, judge: Judge) -> Check:
    expected = golden.values["input_ids"]
    differ = float((ids != expected).sum()) if ids.shape == expected.shape else float(max(ids.size, expected.size))
    return Check("tokens", "input_ids", golden.name, {"mismatches": differ}, judge.gate("tokens"))


def decoder_inputs(decoder: Stage, embeds: Array, before: Values) -> Values:
    """Embeddings, a mask of ones, and as the past what the call `before` presents (nothing, at first)."""
    past = {}
    for name, spec in decoder.inputs.items():
        if name.startswith("past_key_values."):
            empty = np.zeros((len(embeds), int(spec.shape[1]), 0, int(spec.shape[3])), np.float32)
            past[name] = before.get(name.replace("past_key_values", "present"), empty)
    length = embeds.shape[1] + next(iter(past.values())).shape[2]
    return {"inputs_embeds": embeds, "attention_mask": np.ones((len(embeds), length), np.int64), **past}


def _answer(stages: Mapping[str, Stage], values: Values, tokens: int, no_features: Array) -> Answer:
    """As many greedy tokens as were recorded, from the values of the prompt's decoder call."""
    first = values["logits"][0, -1:]
    decoder, ids = stages["decoder"], [int(first.argmax())]
    while len(ids) < tokens:
        embedded = stages["embed_tokens"].run({"input_ids": np.array([ids[-1:]]), "image_features": no_features})
        values = decoder.run(decoder_inputs(decoder, embedded["inputs_embeds"], values))
        ids.append(int(values["logits"][0, -1].argmax()))
    return Answer(ids, [], first)
