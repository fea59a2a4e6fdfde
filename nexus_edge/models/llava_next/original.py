"""What transformers recorded of LLaVA-NeXT, against the reference model, and its inputs against ours."""

import copy
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nexus_edge.bundle.layer_names import output_of
from nexus_edge.layers.kv_cache import KVCache
from nexus_edge.models import from_checkpoint
from nexus_edge.models.llava_next.anyres import read_pinpoints
from nexus_edge.models.llava_next.model import LlavaNext
from nexus_edge.models.llava_next.processing import LlavaNextProcessor
from nexus_edge.models.llava_next.views import preprocess_images
from nexus_edge.parity.metrics import Array, Values
from nexus_edge.parity.recordings import read_cases
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Judge, layer_outputs, removed_after

# A recording -> the value of ours and the part of the model that it belongs to, in the order of their computation.
_NAMES = (
    (re.compile(r"vision_features_stride\d+"), "vision_features", "vision_encoder"),
    (re.compile(r"projected_stride\d+"), "projected", "vision_encoder"),
    (re.compile(r"packed_stride\d+"), "image_features", "vision_encoder"),
    (re.compile(r"packed_rowsum"), "image_features_rowsum", "vision_encoder"),
    (re.compile(r"inputs_embeds"), "inputs_embeds", "decoder"),
    (re.compile(r"layer_out_(\d+)"), output_of(r"language_model.model.layers.\1"), "decoder"),
    (re.compile(r"final_norm"), "final_norm", "decoder"),
    (re.compile(r"logits"), "logits", "decoder"),
    (re.compile(r"decode_logits"), "decode_logits", "decoder"),
)
_STRIDE = re.compile(r"_stride(\d+)$")


def compare(folder: Path, judge: Judge, weights: Path | None = None) -> list[Check]:
    """Checks of every recording of a set, in the order of the tensors' way.

    Args:
        folder: with cases.json, the images, and what went in and came out
        judge: with the gates
        weights: the checkpoint folder that was recorded; None: `folder` itself
    """
    model, processor = from_checkpoint(weights or folder), LlavaNextProcessor.from_folder(weights or folder)
    assert isinstance(model, LlavaNext)
    return compare_with(folder, model, processor, judge)


def compare_with(folder: Path, model: LlavaNext, processor: LlavaNextProcessor, judge: Judge) -> list[Check]:
    """As `compare`, with a model and a processor that are open."""
    checks: list[Check] = []
    for case, recorded in read_cases(folder):
        if "pinpoints" in case:
            anyres = replace(processor.anyres, pinpoints=read_pinpoints(case["pinpoints"]))
            processor, model = replace(processor, anyres=anyres), copy.copy(model)
            model.params = replace(model.params, anyres=anyres)
        checks += _compare_case(folder, case, recorded, model, processor, judge)
    return checks


def _compare_case(
    folder: Path,
    case: Mapping[str, Any],
    recorded: Values,
    model: LlavaNext,
    processor: LlavaNextProcessor,
    judge: Judge,
) -> list[Check]:
    name, rows = case["name"], case.get("rows") or [case]
    images = [folder / image for row in rows for image in row["images"]]
    pixels, sizes, _ = preprocess_images(images, processor.anyres, processor.mean, processor.std)
    changed = bool(images) and hashlib.sha256(pixels.tobytes()).hexdigest() != case["pixel_values_sha256"]
    wrong = 0
    for row, ids, mask in zip(rows, recorded["input_ids"], recorded["attention_mask"], strict=True):
        made = processor(row["text"], [folder / image for image in row["images"]])["input_ids"][0]
        wrong += int(not np.array_equal(made, ids[mask == 1]))
    checks = [_count(judge, "pixels", name, int(changed)), _count(judge, "tokens", name, wrong)]
    values = capture(model, recorded, (pixels, sizes) if images else None)
    for pattern, ours, stage in _NAMES:
        for key in sorted(key for key in recorded if pattern.fullmatch(key)):
            value = pattern.sub(ours, key)
            actual, expected = _kept(values[value], key, recorded)
            checks += judge.check(stage, name, {value: actual}, {value: expected})
    return checks


def capture(model: LlavaNext, recorded: Values, images: tuple[Array, Array] | None) -> Values:
    """Every value that `_NAMES` asks for, of one call and the steps that go on with the recorded ids.

    Args:
        recorded: `input_ids` and `attention_mask` [batch, tokens], `decode_ids` [batch, steps]
        images: pixel_values and image_sizes
    """
    ids, mask, steps = (torch.from_numpy(recorded[key].copy()) for key in ("input_ids", "attention_mask", "decode_ids"))
    pixels, sizes = (None, None) if images is None else map(torch.from_numpy, images)
    cache = KVCache()
    with torch.inference_mode():
        with layer_outputs(model) as layers, _outputs(model) as seen:
            logits = model(ids, pixels, sizes, mask, cache)
        values = {**layers, **seen, "logits": logits}
        last = [logits[:, -1]]
        for step in steps.T[:-1]:
            mask = torch.cat((mask, torch.ones_like(mask[:, :1])), dim=1)
            last.append(model(step[:, None], attention_mask=mask, cache=cache)[:, -1])
    values["decode_logits"] = torch.stack(last, dim=1)
    if images is not None:
        values["image_features"] = values["inputs_embeds"][ids == model.params.image_token]
        values["image_features_rowsum"] = values["image_features"].sum(-1)
    return {name: value.float().numpy() for name, value in values.items()}


@contextmanager
def _outputs(model: LlavaNext) -> Iterator[dict[str, Tensor]]:
    """Inside, what the parts give and what enters the first layer."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda _module, _inputs, output: seen.update({name: output})

    decoder = model.language_model.model
    handles = [
        model.vision_tower["vision_model"].register_forward_hook(keep("vision_features")),
        model.multi_modal_projector.register_forward_hook(keep("projected")),
        decoder.norm.register_forward_hook(keep("final_norm")),
        decoder.layers[0].register_forward_pre_hook(lambda _module, inputs: seen.update(inputs_embeds=inputs[0])),
    ]
    with removed_after(handles):
        yield seen


def _kept(value: Array, key: str, recorded: Values) -> tuple[Array, Array]:
    """What ours and a recording have in common, [rows, width]: padding says nothing and is left out."""
    expected, stride = recorded[key], _STRIDE.search(key)
    if stride is not None:
        return value.reshape(-1, value.shape[-1])[:: int(stride.group(1))], expected
    if value.ndim < 3 or key.startswith("decode"):
        return value, expected
    rows = recorded["logits_rows" if key == "logits" and "logits_rows" in recorded else "rows"]
    seen = recorded["attention_mask"][:, rows] == 1
    return value[:, rows][seen], expected[seen]


def _count(judge: Judge, stage: str, case: str, mismatches: int) -> Check:
    return Check(stage, stage, case, {"mismatches": float(mismatches)}, judge.gate(stage))
