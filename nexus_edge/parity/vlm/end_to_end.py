"""P5 for vision-language models: pixels to crops to tokens to logits to greedy tokens.

The crops are held against the original's steps in torch; from there on the reference is the quantized PyTorch model on
those crops. What full precision would have answered is reported beside it and gates nothing here: P4 has judged that.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from nexus_edge.parity.metrics import Array, top2_margin
from nexus_edge.parity.report import Check, NotRunError
from nexus_edge.parity.stages import Judge
from nexus_edge.parity.vlm.answers import NEW_TOKENS, Answer, greedy_check, torch_answer
from nexus_edge.parity.vlm.cases import Case
from nexus_edge.processing import from_checkpoint

if TYPE_CHECKING:
    from nexus_edge.models.base import ReferenceModel
    from nexus_edge.parity.vlm.lab import VlmLab
    from nexus_edge.runtimes import VLM
    from nexus_edge.runtimes.context import Context


def compare_end_to_end(lab: "VlmLab", target: str) -> list[Check]:
    """For each case the stages in their order."""
    from nexus_edge.runtimes import load_vlm

    vlm = load_vlm(lab.only(target))
    judge = lab.judge("P5", target=target)
    return [check for case in lab.cases for check in _compare_case(lab, vlm, case, judge)]


def _compare_case(lab: "VlmLab", vlm: "VLM", case: Case, judge: Judge) -> list[Check]:
    from nexus_edge.runtimes.context import Context, Tokens
    from nexus_edge.runtimes.pictures import PictureCache

    stops = lab.processor.stop_ids
    reference: dict[str, Any] = dict(case.inputs)
    checks: list[Check] = []
    pictures: Any = ()
    if case.pictures:
        reference["pixel_values"] = lab.original_pixels(case)
        checks += judge.check("crops", case.name, _only(case.inputs, "pixel_values"), _only(reference, "pixel_values"))
    checks.append(_tokens(lab, case, judge))
    if case.pictures:
        pictures = PictureCache(vlm.engine).encode(case.inputs["pixel_values"], case.inputs["image_sizes"])
        features = np.concatenate([rows for _, rows in pictures])
        checks += judge.check(
            "image features", case.name, _named(features), _named(_features(lab.quantized, reference))
        )
    context = Context(vlm.engine, vlm.limits.rope_limit)
    logits, _ = context.load(Tokens.of_prompt(case.inputs["input_ids"][0], pictures))
    answer = _runtime_answer(context, logits, stops)
    expected = torch_answer(lab.quantized, reference, stops)
    checks += judge.check("logits", case.name, _logits(answer), _logits(expected))
    checks.append(greedy_check("greedy tokens", case.name, answer, expected, judge))
    try:
        full = torch_answer(lab.full_beside_runtime, reference, stops)
    except NotRunError as error:
        lab.note(f"greedy tokens of full precision: {error}")
    else:
        checks.append(greedy_check("greedy tokens of full precision", case.name, answer, full, judge))
    return checks


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
    first = logits.copy()
    ids: list[int] = []
    margins: list[float] = []
    while len(ids) < NEW_TOKENS:
        ids.append(int(logits.argmax()))
        margins.append(float(top2_margin(logits)))
        if ids[-1] in stops:
            break
        logits = context.append(ids[-1])
    return Answer(ids, margins, first)
