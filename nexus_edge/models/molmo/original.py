"""What the authors' code recorded of Molmo, against the reference model, and its inputs against ours."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nexus_edge.bundle.layer_names import output_of
from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.layers.kv_cache import KVCache
from nexus_edge.models import from_checkpoint
from nexus_edge.models.molmo.crops import NO_VIEW, PATCHES, TOKENS, as_patches, layout_of_views
from nexus_edge.models.molmo.model import Molmo
from nexus_edge.models.molmo.processing import MolmoProcessor
from nexus_edge.parity.metrics import Array, Values
from nexus_edge.parity.recordings import read_cases
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Judge, layer_outputs, removed_after

# A recording -> the value of ours and the part of the model that it belongs to, in the order of their computation.
_NAMES = (
    (re.compile(r"vit_pre_ln(_stride\d+)?"), "vit_pre_ln", "vision_encoder"),
    (re.compile(r"vit_block0(_stride\d+)?"), "vit_block0", "vision_encoder"),
    (re.compile(r"vit_cls"), "vit_cls", "vision_encoder"),
    (re.compile(r"vit_concat(_stride\d+)?"), "vit_concat", "vision_encoder"),
    (re.compile(r"pool_kv_stride\d+"), "pool_kv", "vision_encoder"),
    (re.compile(r"pooled(_stride\d+)?"), "pooled", "vision_encoder"),
    (re.compile(r"projected(_stride\d+)?"), "projected", "vision_encoder"),
    (re.compile(r"projected_rowsum"), "projected_rowsum", "vision_encoder"),
    (re.compile(r"inputs_embeds"), "inputs_embeds", "decoder"),
    (re.compile(r"layer_out_(\d+)"), output_of(r"model.transformer.blocks.\1"), "decoder"),
    (re.compile(r"([kv])cache_layer0(?:_stride\d+)?"), r"\1cache_layer0", "decoder"),
    (re.compile(r"final_norm"), "final_norm", "decoder"),
    (re.compile(r"logits"), "logits", "decoder"),
)
_STRIDE = re.compile(r"_stride(?:d)?(\d+)$")
_PER_VIEW = {"vit_pre_ln": PATCHES**2 + 1, "vit_block0": PATCHES**2 + 1, "vit_concat": PATCHES**2}
"""Rows of a value per view, where they are no tokens."""


def compare(folder: Path, judge: Judge, weights: Path | None = None) -> list[Check]:
    """Checks of every recording of a set, in the order of the tensors' way.

    Args:
        folder: with cases.json, the images, and what went in and came out
        judge: with the gates
        weights: the checkpoint folder that was recorded; None: `folder` itself
    """
    model, processor = from_checkpoint(weights or folder), MolmoProcessor.from_folder(weights or folder)
    assert isinstance(model, Molmo)
    return compare_with(folder, model, processor, judge)


def compare_with(folder: Path, model: Molmo, processor: MolmoProcessor, judge: Judge) -> list[Check]:
    """As `compare`, with a model and a processor that are open."""
    read = read_cases(folder)
    cases = {case["name"]: case for case, _ in read}
    checks: list[Check] = []
    for case, recorded in read:
        name = case["name"]
        members = [cases[member] for member in case.get("members", [name])]
        made = [_inputs(folder, member, processor) for member in members]
        found = _compare_inputs(made[0], name, recorded, judge) if len(made) == 1 else []
        checks += found
        if all(check.status != "failed" for check in found):  # rows of other inputs are not comparable
            values = capture(model, made, recorded["decode_ids"])
            checks += _compare_values(values, name, recorded, made, judge)
    return checks


def _inputs(folder: Path, case: Mapping[str, Any], processor: MolmoProcessor) -> ModelInputs:
    chosen = processor.with_most_views(case.get("max_crops", processor.most_views))
    return chosen(f" User: {case['text']} Assistant:", [folder / image for image in case["images"]])


def _compare_inputs(made: ModelInputs, case: str, recorded: Values, judge: Judge) -> list[Check]:
    """Pixels, masks, ids, and the features that each id of the image gets."""
    ids = made["input_ids"][0]
    checks = [_count(judge, "input_ids", case, ids, recorded["input_ids"])]
    if "pixel_values" not in made:
        return checks
    patches = as_patches(made["pixel_values"][0].transpose(0, 2, 3, 1))
    for key in (key for key in recorded if re.fullmatch(r"images(_strided\d+)?", key)):
        stride = _STRIDE.search(key)
        value = patches if stride is None else patches.ravel()[:: int(stride.group(1))]
        checks += judge.check("processor", case, {key: value}, {key: recorded[key]})
    means = {"images_view_mean": patches.mean((1, 2))}
    checks += judge.check("processor", case, means, {"images_view_mean": recorded["images_view_mean"]})
    height, width = made["image_sizes"][0].tolist()
    layout = layout_of_views(height, width, len(patches))
    checks.append(_count(judge, "image_masks", case, layout.masks(), recorded["image_masks"]))
    # The original has the position of each feature, and a negative number for those that no position takes.
    positions = np.full(len(recorded["image_input_idx"]) * TOKENS**2, -1)
    positions[layout.feature_index()] = np.flatnonzero(ids == ids[2])  # after the first id and <im_start>
    expected = np.maximum(recorded["image_input_idx"].ravel(), -1)
    return [*checks, _count(judge, "image_input_idx", case, positions, expected)]


def capture(model: Molmo, made: Sequence[ModelInputs], decode_ids: Array) -> Values:
    """Every value that `_NAMES` asks for, of one call and the steps that go on with the recorded ids.

    Args:
        made: the rows of a batch, which are padded on the right
        decode_ids: int64 [batch, steps]
    """
    longest = max(one["input_ids"].shape[1] for one in made)
    ids, mask = (torch.zeros(len(made), longest, dtype=torch.int64) for _ in range(2))
    for row, one in enumerate(made):
        ids[row, : one["input_ids"].shape[1]] = torch.from_numpy(one["input_ids"][0])
        mask[row, : one["input_ids"].shape[1]] = 1
    last, steps = mask.sum(1) - 1, torch.from_numpy(decode_ids.copy())
    cache = KVCache()
    with torch.inference_mode():
        with layer_outputs(model) as layers, _outputs(model) as seen:
            logits = model(ids, *_images(made), attention_mask=mask, cache=cache)
        values = {**layers, **seen, "logits": logits}
        values["kcache_layer0"], values["vcache_layer0"] = cache.layers[0]
        answers = [logits[torch.arange(len(made)), last]]
        for step in steps.T[:-1]:
            mask = torch.cat((mask, torch.ones_like(mask[:, :1])), dim=1)
            answers.append(model(step[:, None], attention_mask=mask, cache=cache)[:, -1])
    values["decode_logits"] = torch.stack(answers, dim=1)
    return {name: value.float().numpy() for name, value in values.items()}


def _images(made: Sequence[ModelInputs]) -> tuple[Tensor, ...]:
    """The images of a batch as the model takes them, with views of padding; nothing without images."""
    if "pixel_values" not in made[0]:
        return ()
    most = max(one["pixel_values"].shape[1] for one in made)
    views = [one["pixel_values"][0] for one in made]
    filled = [np.full((most - len(one), *one.shape[1:]), NO_VIEW, dtype=one.dtype) for one in views]
    pixels = np.stack([np.concatenate(pair) for pair in zip(views, filled, strict=True)])
    sizes = np.concatenate([one["image_sizes"] for one in made])
    return torch.from_numpy(pixels), torch.from_numpy(sizes)


@contextmanager
def _outputs(model: Molmo) -> Iterator[dict[str, Tensor]]:
    """Inside, what the parts give and what enters the first block."""
    seen: dict[str, Tensor] = {}
    backbone, transformer = model.model.vision_backbone, model.model.transformer

    def keep(name: str) -> Any:
        return lambda _module, _inputs, output: seen.update({name: output})

    def keep_tower(_module: Any, _inputs: Any, output: Tensor) -> None:
        seen.update(vit_cls=output[:, 0], vit_concat=output[:, 1:])

    def keep_projected(_module: Any, _inputs: Any, output: Tensor) -> None:
        seen.update(projected=output, projected_rowsum=output.sum(-1))

    handles = [
        backbone.image_vit.pre_ln.register_forward_hook(keep("vit_pre_ln")),
        backbone.image_vit.transformer.resblocks[0].register_forward_hook(keep("vit_block0")),
        backbone.image_vit.register_forward_hook(keep_tower),
        backbone.image_pooling_2d.register_forward_pre_hook(lambda _module, inputs: seen.update(pool_kv=inputs[1])),
        backbone.image_pooling_2d.register_forward_hook(keep("pooled")),
        backbone.image_projector.register_forward_hook(keep_projected),
        transformer.blocks[0].register_forward_pre_hook(lambda _module, inputs: seen.update(inputs_embeds=inputs[0])),
        transformer.ln_f.register_forward_hook(keep("final_norm")),
    ]
    with removed_after(handles):
        yield seen


def _compare_values(
    values: Values, case: str, recorded: Values, made: Sequence[ModelInputs], judge: Judge
) -> list[Check]:
    checks: list[Check] = []
    for pattern, ours, stage in _NAMES:
        for key in sorted(key for key in recorded if pattern.fullmatch(key)):
            name = pattern.sub(ours, key)
            if stage == "vision_encoder":
                actual, expected = _of_views(values[name], recorded[key], key, name, made)
            else:
                actual, expected = _of_tokens(values[name], recorded[key], key, recorded, made)
            checks += judge.check(stage, case, {name: actual}, {name: expected})
    answer = {"logits": values["decode_logits"]}, {"logits": recorded["decode_logits"]}
    return checks + judge.check("decoder", f"{case}, answer", *answer)


def _of_views(value: Array, expected: Array, key: str, name: str, made: Sequence[ModelInputs]) -> tuple[Array, Array]:
    """What ours and a recording have in common: a batch's views of padding say nothing and are left out."""
    most = max(one["pixel_values"].shape[1] for one in made)
    real = np.concatenate([np.arange(most) < one["pixel_values"].shape[1] for one in made])
    stride = _STRIDE.search(key)
    if stride is None:
        width = expected.shape[-1]
        recorded = expected.reshape(len(real), -1, width)[real]
        return value.reshape(recorded.shape), recorded
    rows = np.repeat(real, _PER_VIEW.get(name, TOKENS**2))
    kept = np.arange(0, len(rows), int(stride.group(1)))
    seen = rows[kept]
    # Ours has no rows for views of padding, so those before a row are not counted.
    ours = np.cumsum(rows)[kept[seen]] - 1
    return value.reshape(-1, *expected.shape[1:])[ours], expected[seen]


def _of_tokens(
    value: Array, expected: Array, key: str, recorded: Values, made: Sequence[ModelInputs]
) -> tuple[Array, Array]:
    """As `_of_views`, for what has a row per token: a recording keeps some, of which padding is left out."""
    if "cache" in key:  # [batch, heads, tokens, head_dim]
        stride = _STRIDE.search(key)
        return value[:, :, :: 1 if stride is None else int(stride.group(1))], expected
    rows = recorded["logits_rows" if key == "logits" else "rows"]
    seen = np.stack([rows < one["input_ids"].shape[1] for one in made])
    return value[:, rows][seen], expected[seen]


def _count(judge: Judge, tensor: str, case: str, actual: Array, expected: Array) -> Check:
    """Facts, of which every one is the same or counts as a mismatch."""
    same = actual.shape == expected.shape
    mismatches = float(np.count_nonzero(actual != expected)) if same else float(max(actual.size, expected.size))
    return Check("tokens", tensor, case, {"mismatches": mismatches}, judge.gate("tokens"))
