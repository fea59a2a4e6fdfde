"""What the authors' code of Phi-3-Vision recorded, against the reference model."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nexus_edge.checkpoints import FolderCheckpoint, SafetensorsFile
from nexus_edge.models.phi3_v.processing import preprocess_images
from nexus_edge.parity.metrics import Values
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Judge
from nexus_edge.parity.vlm.cases import Case
from nexus_edge.parity.vlm.scheme import capture

if TYPE_CHECKING:
    from nexus_edge.models.phi3_v.model import Phi3V

# One, four and two images, text, and each kind of LongRoPE list. Batches, growing caches and bfloat16 are the test
# suite's matter.
CASES = ("img1", "img4", "two_short", "text", "text_long_factors", "text_yarn", "text_sliding")

_TOWER = "model.vision_embed_tokens.img_processor.vision_model.encoder.layers"
# What a golden records -> the value of ours and the stage that it belongs to.
_NAMES = (
    (re.compile(r"clip_layer_out_(\d+)"), _TOWER + r".\1.output", "vision_encoder"),
    (re.compile(r"img_features_proj"), "image_features", "vision_encoder"),
    (re.compile(r"layer_out_(\d+)"), r"model.layers.\1.output", "decoder"),
    (re.compile(r"logits"), "logits", "decoder"),
)
# The golden's own way of sampling long tensors: which rows were kept.
_ROWS = {"image_features": "img_feature_rows", "logits": "logits_rows"}


def compare(folder: Path, judge: Judge) -> list[Check]:
    """Checks of every case, in the order of the tensor's way."""
    inputs, outputs = (SafetensorsFile(folder / f"{name}.safetensors") for name in ("inputs", "outputs"))
    checks: list[Check] = []
    for case in json.loads((folder / "cases.json").read_text("utf-8"))["cases"]:
        if case["name"] in CASES:
            checks += _compare_case(folder, case, inputs, outputs, judge)
    return checks


def _compare_case(
    folder: Path, case: dict[str, Any], inputs: SafetensorsFile, outputs: SafetensorsFile, judge: Judge
) -> list[Check]:
    name = case["name"]
    feeds: Any = {"input_ids": inputs.read(f"{name}.input_ids")}
    if case["images"]:
        images = [folder / name for name in case["images"]]
        feeds["pixel_values"], feeds["image_sizes"], _ = preprocess_images(images, case["num_crops"])
    values = capture(_model(folder, case["config"]), Case(name, "", (), feeds))
    checks: list[Check] = []
    for pattern, ours, stage in _NAMES:
        recorded = sorted(key for key in outputs.infos if pattern.fullmatch(key.removeprefix(f"{name}.")))
        for key in recorded:
            value = pattern.sub(ours, key.removeprefix(f"{name}."))
            if value in values:
                checks += judge.check(stage, name, _sampled(values, value, name, outputs), {value: _read(outputs, key)})
    return checks


def _read(outputs: SafetensorsFile, key: str) -> Any:
    """Without the batch of one that the decoder's tensors have."""
    array = np.asarray(outputs.read(key), np.float32)
    return array[0] if array.ndim == 3 and len(array) == 1 else array


def _sampled(values: Values, value: str, case: str, outputs: SafetensorsFile) -> Values:
    """Our value in the rows that the golden keeps."""
    array, is_tower = values[value], value.startswith(_TOWER)
    array = array[0] if array.ndim == 3 and not is_tower else array
    rows = f"{case}.{'clip_rows' if is_tower else _ROWS.get(value, 'rows')}"
    return {value: array.take(outputs.read(rows), axis=-2) if rows in outputs.infos else array}


def _model(folder: Path, config: str) -> "Phi3V":
    """The goldens' weights under one of their configurations."""
    import torch

    from nexus_edge.models.loading import load_weights
    from nexus_edge.models.phi3_v.model import build

    with torch.device("meta"):
        model = build(json.loads((folder / config).read_text("utf-8")))
    load_weights(model, FolderCheckpoint(folder), torch.float32)
    return model.eval()
