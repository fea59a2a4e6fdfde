"""A number that is read but not used is ignored as well: each one changes what the reference model computes."""

import copy
from collections.abc import Callable
from typing import Any

import golden_phi3
import pytest
import torch
from golden_phi3 import CASES, Case
from torch import Tensor

from nexus_edge.checkpoints import FolderCheckpoint
from nexus_edge.models.loading import load_weights
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.models.phi3_v.params import Phi3VisionParams

Config = dict[str, Any]
CASE = next(name for name, case in CASES.items() if len(case["images"]) == 1 and case["num_crops"] == 4)


def base() -> Config:
    config = copy.deepcopy(golden_phi3.config())
    config["original_max_position_embeddings"] = 100  # so that the case is a long one
    return config


def rope(**values: Any) -> Callable[[Config], None]:
    return lambda config: config["rope_scaling"].update(values)


def tower(**values: Any) -> Callable[[Config], None]:
    return lambda config: config["_golden_clip_vision_config"].update(values)


def top(**values: Any) -> Callable[[Config], None]:
    return lambda config: config.update(values)


def logits(config: Config) -> Tensor:
    with torch.device("meta"):
        model = Phi3V(Phi3VisionParams.from_json(config)).eval()
    checkpoint = FolderCheckpoint(golden_phi3.FOLDER)
    checkpoint.config = config
    load_weights(model, checkpoint, torch.float32)
    case = Case(CASE)
    with torch.inference_mode():
        found: Tensor = model(case.input_ids, case.pixel_values, case.image_sizes)[:, -8:]
    return found


@pytest.fixture(scope="module")
def expected() -> Tensor:
    return logits(base())


@pytest.mark.parametrize(
    "change",
    [
        top(rope_theta=500000.0),
        top(original_max_position_embeddings=32768),
        top(max_position_embeddings=65536, sliding_window=65536),
        top(rms_norm_eps=1e-2),
        top(sliding_window=50),
        top(hidden_act="gelu"),
        top(hidden_act="relu"),
        top(tie_word_embeddings=True),
        rope(type="yarn"),
        rope(long_factor=[2.0] * 12),
        rope(factor=8.0),
        rope(attention_factor=1.5),
        rope(short_mscale=1.1, long_mscale=1.5),
        tower(hidden_act="gelu"),
        tower(layer_norm_eps=1e-2),
        lambda config: config["img_processor"].update(layer_idx=-1),
        lambda config: config["embd_layer"].update(hd_transform_order="glb_sub"),
    ],
)
def test_a_number_changes_the_answer(change: Callable[[Config], object], expected: Tensor) -> None:
    config = base()
    change(config)
    # Two runs of the same numbers differ by nothing: one machine, one thread, the same order of sums.
    assert (logits(config) - expected).abs().max() > 1e-4


def test_the_same_numbers_in_another_spelling_change_nothing(expected: Tensor) -> None:
    config = base()
    table = config.pop("rope_scaling")
    table["rope_type"] = "longrope"
    del table["type"]
    config["rope_parameters"] = {**table, "rope_theta": config.pop("rope_theta")}
    assert torch.equal(logits(config), expected)
