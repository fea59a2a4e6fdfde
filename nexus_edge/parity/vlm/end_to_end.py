"""P5 for vision-language models: pixels to crops to tokens to logits to greedy tokens.

The crops are held against the original's steps in torch; from there on the reference is the quantized PyTorch model on
those crops. What full precision would have answered is reported beside it and gates nothing here: P4 has judged that.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.parity.formats import Formats
from nexus_edge.parity.metrics import Array, top2_margin
from nexus_edge.parity.per_target import compare_runtimes, only, reference_for
from nexus_edge.parity.precisions import formats_of
from nexus_edge.parity.report.report import Check, NotRunError
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.samples import Sample, question_of, thumbnail, tokens_apart
from nexus_edge.parity.stages import Judge
from nexus_edge.parity.vlm.answers import NEW_TOKENS, Answer, greedy_check, shared_logits, up_to_difference
from nexus_edge.parity.vlm.cases import Case
from nexus_edge.parity.vlm.run import VlmRun, vlm_run

if TYPE_CHECKING:
    from nexus_edge.runtimes import VLM, EngineOptions
    from nexus_edge.runtimes.vlm.context import Context


@dataclass(frozen=True)
class Found:
    """What the runtime made of a case: features of its images (None without), and its greedy answer in `seconds`."""

    case: Case
    features: Array | None
    answer: Answer
    seconds: float


def compare_end_to_end(run: ParityRun, target: str) -> list[Check]:
    """For each case what goes in, then in each precision of the runtime what comes out, stage by stage.

    The runtime answers first and is closed; then the reference says in one pass what it would have said at each token.
    """
    vlm, judge = vlm_run(run), run.judges.judge("P5", target=target)
    checks = [check for case in vlm.cases for check in _compare_inputs(vlm, case, judge)]

    def compare(options: "EngineOptions", judge: Judge) -> list[Check]:
        return _compare_outputs(vlm, target, vlm.runtime.of(target, options), judge, formats_of(options))

    return checks + compare_runtimes(run, target, "P5", compare)


def answer_all(
    bundle: Bundle, target: str, options: "EngineOptions", cases: Sequence[Case], stop_ids: tuple[int, ...]
) -> list[Found]:
    """Every case in the runtime that ships."""
    from nexus_edge.runtimes import load_vlm

    vlm = load_vlm(only(bundle, target), options)
    return [_answer(vlm, stop_ids, case) for case in cases]


def _compare_inputs(vlm: VlmRun, case: Case, judge: Judge) -> list[Check]:
    name = "pixel_values"
    checks: list[Check] = []
    if case.images:
        inputs: Any = case.inputs
        checks += judge.check("crops", case.name, {name: inputs[name]}, {name: vlm.original_pixels(case)})
    return [*checks, _tokens(vlm, case, judge)]


def _compare_outputs(vlm: VlmRun, target: str, found: list[Found], judge: Judge, formats: Formats) -> list[Check]:
    reference = reference_for(target)
    ids = {entry.case.name: tuple(entry.answer.ids) for entry in found}
    expected, full = vlm.forced(reference, ids), _full_precision(vlm, ids)
    checks: list[Check] = []
    for entry in found:
        case, answer = entry.case.name, entry.answer
        effects = partial(vlm.references.effects, reference, formats, case)
        if entry.features is not None:
            features = vlm.traces(reference)[case].load("image_features")
            checks += judge.check("image features", case, _named(entry.features), _named(features), effects)
        ours, theirs = ({"logits": logits} for logits in shared_logits(answer, expected[case]))
        checks += judge.check("logits", case, ours, theirs, effects)
        greedy = greedy_check("greedy tokens", case, answer, expected[case], judge)
        checks.append(replace(greedy, samples=_samples(vlm, entry, expected[case], full.get(case))))
        if case in full:
            checks.append(greedy_check("greedy tokens of full precision", case, answer, full[case], judge))
    return checks


def _samples(vlm: VlmRun, found: Found, quantized: Answer, full: Answer | None) -> tuple[Sample, ...]:
    """For readers: the case with the answers of both, where there is a question to read."""
    case, answer = found.case, found.answer
    if not case.prompt:
        return ()
    reference = up_to_difference(full or quantized, answer.ids)
    before, after = (vlm.processor.decode(ids).strip() for ids in (reference.ids, answer.ids))
    name = "quantized, in PyTorch" if full is None else "full precision"
    images = tuple(thumbnail(image) for image in case.images)
    apart = tokens_apart(reference.ids, answer.ids)
    return (Sample(images, question_of(case.prompt), name, before, after, apart, found.seconds),)


def _full_precision(vlm: VlmRun, ids: Mapping[str, tuple[int, ...]]) -> Mapping[str, Answer]:
    """Nothing where there is no checkpoint."""
    try:
        return vlm.forced("full", ids)
    except NotRunError as error:
        vlm.run.note(f"greedy tokens of full precision: {error}")
        return {}


def _answer(vlm: "VLM", stops: tuple[int, ...], case: Case) -> Found:
    from nexus_edge.runtimes.vlm.context import Context, Tokens
    from nexus_edge.runtimes.vlm.image_cache import ImageCache

    prompt, scheme = vlm.host.prompt(case.inputs), vlm.host.positions
    images = ImageCache(vlm.engine, vlm.host).encode(prompt.images)
    features = np.concatenate([image.features for image in images]) if images else None
    context = Context(vlm.engine.decoder(), vlm.host)
    if case.prompt and not images:
        # Another prompt with the same beginning goes first: what is reused of its cache must be that beginning alone.
        half = len(prompt.ids) // 2
        other = replace(prompt, ids=np.concatenate((prompt.ids[:half], prompt.ids[half:][::-1])))
        context.load(Tokens.of_prompt(other, (), scheme))
    started = time.perf_counter()
    logits, _ = context.load(Tokens.of_prompt(prompt, images, scheme))
    answer = _runtime_answer(context, logits, stops)
    return Found(case, features, answer, time.perf_counter() - started)


def _named(features: Array) -> dict[str, Array]:
    return {"image_features": features}


def _tokens(vlm: VlmRun, case: Case, judge: Judge) -> Check:
    """The bundle's ids against those of the checkpoint's own processor files."""
    ids = case.inputs["input_ids"][0]
    if not case.prompt or vlm.original_processor is None:
        return Check("tokens", "input_ids", case.name)
    original = vlm.original_processor.with_most_views(case.num_crops)
    expected = original(case.prompt, list(case.images))["input_ids"][0]
    same_length = len(ids) == len(expected)
    mismatches = float((ids != expected).sum()) if same_length else float(max(len(ids), len(expected)))
    return Check("tokens", "input_ids", case.name, {"mismatches": mismatches}, judge.gate("tokens"))


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
