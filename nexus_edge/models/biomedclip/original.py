"""What open_clip recorded of BiomedCLIP's architecture, against the reference model, and its inputs against ours."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nexus_edge.bundle.layer_names import output_of
from nexus_edge.checkpoints import SafetensorsFile
from nexus_edge.models import from_checkpoint
from nexus_edge.parity.metrics import Array, Values
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Judge, removed_after
from nexus_edge.processing import dual_from_checkpoint

if TYPE_CHECKING:
    from nexus_edge.models.base import ReferenceModel

_TRUNK, _BERT = "visual.trunk", "text.transformer"
# A recording -> the value of ours and the graph that it belongs to, in the order in which they are computed.
_NAMES = (
    (re.compile(r"vit_patch_embed"), f"{_TRUNK}.patch_embed", "image_encoder"),
    (re.compile(r"vit_tokens_in"), f"{_TRUNK}.tokens", "image_encoder"),
    (re.compile(r"vit_block_out_(\d+)"), output_of(rf"{_TRUNK}.blocks.\1"), "image_encoder"),
    (re.compile(r"vit_norm"), f"{_TRUNK}.norm", "image_encoder"),
    (re.compile(r"vit_pooled"), _TRUNK, "image_encoder"),
    (re.compile(r"image_features"), "visual", "image_encoder"),
    (re.compile(r"image_features_normalized"), "image_embeds", "image_encoder"),
    (re.compile(r"bert_embeddings"), f"{_BERT}.embeddings", "text_encoder"),
    (re.compile(r"bert_layer_out_(\d+)"), output_of(rf"{_BERT}.encoder.layer.\1"), "text_encoder"),
    (re.compile(r"bert_pooled"), _BERT, "text_encoder"),
    (re.compile(r"text_features"), "text", "text_encoder"),
    (re.compile(r"text_features_normalized"), "text_embeds", "text_encoder"),
    (re.compile(r"logit_scale_exp"), "logit_scale", "similarities"),
    (re.compile(r"logits_per_image"), "logits_per_image", "similarities"),
    (re.compile(r"logits_per_text"), "logits_per_text", "similarities"),
    (re.compile(r"probs_per_image"), "probabilities", "similarities"),
)
_SAMPLING = re.compile(r"(?:first(?P<first>\d+)|(?P<long>longrow)|img0_(?P<last>\d+)|all)(?:_stride(?P<stride>\d+))?")


def compare(folder: Path, judge: Judge) -> list[Check]:
    """Checks of every recording, in the order of the tensors' way."""
    inputs, outputs = (SafetensorsFile(folder / f"{name}.safetensors") for name in ("inputs", "outputs"))
    cases = json.loads((folder / "cases.json").read_text("utf-8"))
    processor, ids = dual_from_checkpoint(folder), inputs.read("text_ids")
    pixels = processor.images([folder / name for name in cases["images"]])
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
    values = capture(from_checkpoint(folder), pixels, ids)
    long = int((ids != 0).sum(axis=1).argmax())
    checks = [
        _count(judge, "pixels", sum(a != b for a, b in zip(hashes, cases["pixel_sha256"], strict=True))),
        _count(judge, "tokens", int((processor.texts(cases["texts"]) != ids).sum())),
    ]
    for pattern, ours, stage in _NAMES:
        for key in sorted(key for key in outputs.infos if pattern.fullmatch(key.partition(".")[0])):
            recording, _, sampling = key.partition(".")
            name = pattern.sub(ours, recording)
            recorded = np.asarray(outputs.read(key))
            actual, expected = _kept(values[name], recorded, sampling, long)
            checks += judge.check(stage, sampling or "all", {name: actual}, {name: expected})
    return checks


def capture(model: "ReferenceModel", pixels: NDArray[np.float32], ids: NDArray[np.int64]) -> Values:
    """Every value that `_NAMES` asks for, [rows, tokens, width] or [rows, width].

    Args:
        pixels: [images, 3, size, size]
        ids: [texts, tokens]
    """
    module: Any = model
    with torch.inference_mode(), _outputs(module) as seen:
        image_embeds = module.encode_image(torch.from_numpy(pixels))
        text_embeds = module.encode_text(torch.from_numpy(np.array(ids)))
        scale = module.logit_scale.exp()
        logits = scale * image_embeds @ text_embeds.T
    seen |= {
        "image_embeds": image_embeds,
        "text_embeds": text_embeds,
        "logit_scale": scale.reshape(1),
        "logits_per_image": logits,
        "logits_per_text": logits.T,
        "probabilities": logits.softmax(-1),
    }
    return {name: value.numpy() for name, value in seen.items()}


@contextmanager
def _outputs(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Inside, what every module gives under its name, a layer's as `<name>.output`, and what enters the first block."""
    seen: dict[str, Tensor] = {}
    blocks = model.get_submodule(f"{_TRUNK}.blocks.0")

    def keep(name: str) -> Callable[[Any, Any, Any], None]:
        return lambda _module, _inputs, output: seen.update({name: output})

    wanted = {name for _, name, _ in _NAMES}
    handles = [blocks.register_forward_pre_hook(lambda _module, inputs: seen.update({f"{_TRUNK}.tokens": inputs[0]}))]
    for name, module in model.named_modules():
        value = name if name in wanted else output_of(name)
        handles.append(module.register_forward_hook(keep(value)))
    with removed_after(handles):
        yield seen


def _kept(value: Array, recorded: Array, sampling: str, long: int) -> tuple[Array, Array]:
    """What ours and the recording have in common.

    Args:
        value: [rows, tokens, width], or [rows, width]; where nobody reads the other tokens ours has the first one alone
        recorded: the part that `sampling` names: `all_stride19`, `first24_stride3`, `longrow_stride8` and the like
        long: the row of the longest text
    """
    match = _SAMPLING.fullmatch(sampling)
    if match is None:
        return value, recorded
    if value.ndim == 2:
        return value, recorded[:, 0]
    rows = value[long] if match["long"] else value[: int(match["last"]) + 1] if match["last"] else value
    if value.shape[1] == 1:
        return rows, recorded[..., :1, :]
    end = int(match["first"]) if match["first"] else None
    return rows[..., : end : int(match["stride"] or 1), :], recorded


def _count(judge: Judge, stage: str, mismatches: int) -> Check:
    return Check(stage, stage, "all", {"mismatches": float(mismatches)}, judge.gate(stage))
