"""P5: pixels to crops to tokens to logits to greedy tokens, in the runtime that ships, against the reference.

The crops are held against the original's steps in torch; from there on the reference is the quantized PyTorch model on
those crops. What full precision would have answered is reported beside it and gates nothing here: P4 has judged that.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from nexus_edge.parity.answers import NEW_TOKENS, Answer, greedy_check, torch_answer
from nexus_edge.parity.cases import Case, with_crops
from nexus_edge.parity.lab import Lab, NotRunError
from nexus_edge.parity.metrics import Array, top2_margin
from nexus_edge.parity.report import Check
from nexus_edge.parity.sources import weight_bytes
from nexus_edge.processing import Phi3VProcessor, from_checkpoint

if TYPE_CHECKING:
    from nexus_edge.models.base import ReferenceModel
    from nexus_edge.runtimes import VLM
    from nexus_edge.runtimes.context import Context

TITLE = "end to end: pixels to greedy tokens in the runtime"


def run(lab: Lab) -> list[Check]:
    """For each case the stages in their order."""
    from nexus_edge.runtimes import load_vlm

    lab.require_memory(2 * weight_bytes(lab.bundle), "the quantized model in PyTorch and in the runtime")
    vlm = load_vlm(lab.bundle)
    checks: list[Check] = []
    for case in lab.cases:
        checks += _compare_case(lab, vlm, case)
    return checks


def _compare_case(lab: Lab, vlm: "VLM", case: Case) -> list[Check]:
    from nexus_edge.runtimes.context import Context, Tokens
    from nexus_edge.runtimes.pictures import PictureCache

    judge, stops = lab.judge("P5"), lab.processor.stop_ids
    reference: dict[str, Any] = dict(case.inputs)
    checks: list[Check] = []
    pictures: Any = ()
    if case.pictures:
        reference["pixel_values"] = _original_crops(lab, case)
        checks += judge.check("crops", case.name, _only(case.inputs, "pixel_values"), _only(reference, "pixel_values"))
    checks.append(_tokens(lab, case))
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
        full = torch_answer(lab.full, reference, stops)
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


def _original_crops(lab: Lab, case: Case) -> Array:
    from nexus_edge.parity.original_crops import crops_of

    processor = lab.processor
    assert isinstance(processor, Phi3VProcessor)
    crops: Array = crops_of(case.pictures, case.num_crops, processor.mean, processor.std).numpy()
    return crops


def _tokens(lab: Lab, case: Case) -> Check:
    """The bundle's ids against those of the checkpoint's own processor files."""
    gate = lab.gate("P5", "*")("tokens")
    ids = case.inputs["input_ids"][0]
    folder = None if isinstance(lab.checkpoint, str) else lab.checkpoint.folder
    if not case.prompt or folder is None:
        return Check("tokens", "input_ids", case.name)
    original = with_crops(from_checkpoint(folder), case.num_crops)
    expected = original(case.prompt, list(case.pictures))["input_ids"][0]
    same_length = len(ids) == len(expected)
    mismatches = float((ids != expected).sum()) if same_length else float(max(len(ids), len(expected)))
    return Check("tokens", "input_ids", case.name, {"mismatches": mismatches}, gate)


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
