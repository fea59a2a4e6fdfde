"""P5 for vision-language models: pixels to crops to tokens to logits to greedy tokens.

The crops are held against the original's steps in torch; from there on the reference is the quantized PyTorch model on
those crops. What full precision would have answered is reported beside it and gates nothing here: P4 has judged that.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nexus_edge.parity.formats import Formats
from nexus_edge.parity.metrics import Array, Measures, Values, top2_margin
from nexus_edge.parity.precisions import formats_of
from nexus_edge.parity.report import Check, NotRunError
from nexus_edge.parity.samples import Sample, question_of, thumbnail, tokens_apart
from nexus_edge.parity.stages import Judge
from nexus_edge.parity.vlm.answers import NEW_TOKENS, Answer, greedy_check, shared_logits, torch_answer, torch_logits
from nexus_edge.parity.vlm.cases import Case
from nexus_edge.processing import from_checkpoint

if TYPE_CHECKING:
    from nexus_edge.models.base import ReferenceModel
    from nexus_edge.parity.vlm.lab import VlmLab
    from nexus_edge.runtimes import VLM
    from nexus_edge.runtimes.context import Context


@dataclass(frozen=True)
class Expected:
    """What a case should come out as.

    Attributes:
        case: with the runtime's crops
        inputs: with the original's crops
        features: of its pictures, by the quantized PyTorch model; None for a case without
        answer: by the quantized PyTorch model
        full: the answer in full precision; None where that model does not fit
        model: the quantized PyTorch model
    """

    case: Case
    inputs: Mapping[str, Any]
    features: Array | None
    answer: Answer
    full: Answer | None
    model: "ReferenceModel"

    @classmethod
    def of(cls, lab: "VlmLab", target: str, case: Case) -> "Expected":
        """By the model that multiplies what the target multiplies."""
        stops, model, inputs = lab.processor.stop_ids, lab.quantized_for(target), _original_inputs(lab, case)
        features = _features(model, inputs) if case.pictures else None
        answer = torch_answer(model, inputs, stops)
        try:
            full = torch_answer(lab.full_beside_runtime, inputs, stops)
        except NotRunError as error:
            lab.note(f"greedy tokens of full precision: {error}")
            full = None
        return cls(case, inputs, features, answer, full, model)

    def effects(self, formats: Formats) -> Mapping[str, Measures]:
        """How far rounding moves image features and the first logits, on the crops that the runtime makes."""
        inputs: dict[str, Any] = dict(self.case.inputs)

        def run() -> Values:
            features = {} if self.features is None else _named(_features(self.model, inputs))
            return features | {"logits": torch_logits(self.model, inputs)[None]}

        from nexus_edge.parity.rounding import effect

        expected = _logits(self.answer) | ({} if self.features is None else _named(self.features))
        return effect(run, expected, formats)


def compare_end_to_end(lab: "VlmLab", target: str) -> list[Check]:
    """For each case what goes in, then in each precision of the runtime what comes out, stage by stage."""
    from nexus_edge.runtimes import EngineOptions, load_vlm

    cases = [Expected.of(lab, target, case) for case in lab.cases]
    judge = lab.judge("P5", target=target)
    checks = [check for expected in cases for check in _compare_inputs(lab, expected, judge)]

    def compare(options: EngineOptions, judge: Judge) -> list[Check]:
        vlm, stops = load_vlm(lab.only(target), options), lab.processor.stop_ids
        formats = formats_of(options)
        return [check for expected in cases for check in _compare_outputs(vlm, stops, expected, judge, formats)]

    return checks + lab.compare_runtimes(target, "P5", compare)


def _original_inputs(lab: "VlmLab", case: Case) -> dict[str, Any]:
    inputs: dict[str, Any] = dict(case.inputs)
    return inputs | ({"pixel_values": lab.original_pixels(case)} if case.pictures else {})


def _compare_inputs(lab: "VlmLab", expected: Expected, judge: Judge) -> list[Check]:
    case, name = expected.case, "pixel_values"
    checks: list[Check] = []
    if case.pictures:
        checks += judge.check("crops", case.name, _only(case.inputs, name), _only(expected.inputs, name))
    return [*checks, _tokens(lab, case, judge)]


def _compare_outputs(
    vlm: "VLM", stops: tuple[int, ...], expected: Expected, judge: Judge, formats: Formats
) -> list[Check]:
    from nexus_edge.runtimes.context import Context, Tokens
    from nexus_edge.runtimes.pictures import PictureCache

    case, effects = expected.case, cache(partial(expected.effects, formats))
    checks: list[Check] = []
    pictures: Any = ()
    if expected.features is not None:
        pictures = PictureCache(vlm.engine).encode(case.inputs["pixel_values"], case.inputs["image_sizes"])
        features = np.concatenate([rows for _, rows in pictures])
        checks += judge.check("image features", case.name, _named(features), _named(expected.features), effects)
    context = Context(vlm.engine.decoder(), vlm.limits.rope_limit)
    ids = case.inputs["input_ids"][0]
    if case.prompt and not case.pictures:
        # Another prompt with the same beginning goes first: what is reused of its cache must be that beginning alone.
        context.load(Tokens.of_prompt(np.concatenate((ids[: len(ids) // 2], ids[len(ids) // 2 :][::-1])), ()))
    started = time.perf_counter()
    logits, _ = context.load(Tokens.of_prompt(ids, pictures))
    answer = _runtime_answer(context, logits, stops)
    seconds = time.perf_counter() - started
    ours, theirs = ({"logits": logits} for logits in shared_logits(answer, expected.answer))
    checks += judge.check("logits", case.name, ours, theirs, effects)
    found = greedy_check("greedy tokens", case.name, answer, expected.answer, judge)
    checks.append(replace(found, samples=_samples(vlm, expected, answer, seconds)))
    if expected.full is not None:
        checks.append(greedy_check("greedy tokens of full precision", case.name, answer, expected.full, judge))
    return checks


def _samples(vlm: "VLM", expected: Expected, answer: Answer, seconds: float) -> tuple[Sample, ...]:
    """For readers: the case with the answers of both, where there is a question to read."""
    case, reference = expected.case, expected.full or expected.answer
    if not case.prompt:
        return ()
    before, after = (vlm.processor.decode(found.ids).strip() for found in (reference, answer))
    name = "quantized, in PyTorch" if expected.full is None else "full precision"
    images = tuple(thumbnail(image) for image in case.pictures)
    apart = tokens_apart(reference.ids, answer.ids)
    return (Sample(images, question_of(case.prompt), name, before, after, apart, seconds),)


def _only(values: Any, name: str) -> dict[str, Array]:
    return {name: values[name]}


def _named(features: Array) -> dict[str, Array]:
    return {"image_features": features}


def _logits(answer: Answer) -> dict[str, Array]:
    return {"logits": answer.first_logits[None]}


def _tokens(lab: "VlmLab", case: Case, judge: Judge) -> Check:
    """The bundle's ids against those of the checkpoint's own processor files."""
    ids = case.inputs["input_ids"][0]
    folder = None if isinstance(lab.checkpoint, str) else lab.checkpoint.folder
    if not case.prompt or folder is None:
        return Check("tokens", "input_ids", case.name)
    original = lab.processor_for(case, from_checkpoint(folder))
    expected = original(case.prompt, list(case.pictures))["input_ids"][0]
    same_length = len(ids) == len(expected)
    mismatches = float((ids != expected).sum()) if same_length else float(max(len(ids), len(expected)))
    return Check("tokens", "input_ids", case.name, {"mismatches": mismatches}, judge.gate("tokens"))


def _features(model: "ReferenceModel", inputs: dict[str, Any]) -> Array:
    import torch

    module: Any = model
    tensors = [torch.from_numpy(np.array(inputs[name])) for name in ("pixel_values", "image_sizes")]
    with torch.inference_mode():
        features: Array = module.image_features(*tensors).numpy()
    return features


def _runtime_answer(context: "Context", logits: Array, stops: tuple[int, ...]) -> Answer:
    rows: list[Array] = []
    ids: list[int] = []
    margins: list[float] = []
    while len(ids) < NEW_TOKENS:
        rows.append(logits.copy())
        ids.append(int(logits.argmax()))
        margins.append(float(top2_margin(logits)))
        if ids[-1] in stops:
            break
        logits = context.append(ids[-1])
    return Answer(ids, margins, np.stack(rows))
