"""P1: every stage that transformers recorded is reproduced, and what breaks the model turns the right one red."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nexus_edge.models import from_checkpoint
from nexus_edge.models.llava_next import anyres, original
from nexus_edge.models.llava_next.model import LlavaNext
from nexus_edge.models.llava_next.processing import LlavaNextProcessor
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Judge
from nexus_edge.parity.tolerances import load

GOLDEN = Path(__file__).parents[2] / "golden"
TINY, BATCH = GOLDEN / "llava_next_tiny", GOLDEN / "llava_next_batch"


@pytest.fixture(scope="module")
def judge() -> Judge:
    tolerances = load()
    return Judge(
        lambda stage: tolerances.gate("P1", stage, "", "float32", "real"),
        lambda stage: tolerances.near_tie("P1", stage, "float32"),
    )


@pytest.mark.parametrize(("folder", "cases", "recordings"), [(TINY, 6, 56), (BATCH, 5, 30)], ids=["single", "batch"])
def test_every_recording_is_reproduced(folder: Path, cases: int, recordings: int, judge: Judge) -> None:
    checks = original.compare(folder, judge, TINY)
    assert [check for check in checks if check.status != "passed"] == []
    assert len({check.case for check in checks}) == cases
    assert len([check for check in checks if check.stage not in ("pixels", "tokens")]) == recordings
    assert {check.measures.get("top1_agreement", 1.0) for check in checks} == {1.0}


@pytest.fixture(scope="module")
def one_case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with the shortest case alone."""
    folder = tmp_path_factory.mktemp("golden") / "one"
    shutil.copytree(BATCH, folder)
    cases = json.loads((folder / "cases.json").read_text("utf-8"))["cases"]
    (folder / "cases.json").write_text(json.dumps({"cases": [one for one in cases if one["name"] == "own_pinpoints"]}))
    return folder


def first_red(folder: Path, judge: Judge, change: Callable[[LlavaNext], object]) -> Check:
    model, processor = from_checkpoint(TINY), LlavaNextProcessor.from_folder(TINY)
    assert isinstance(model, LlavaNext)
    change(model)
    checks = original.compare_with(folder, model, processor, judge)
    return next(check for check in checks if check.status == "failed")


def doubled(name: str) -> Callable[[LlavaNext], object]:
    def change(model: LlavaNext) -> None:
        model.get_parameter(name).data.mul_(2)

    return change


@pytest.mark.parametrize(
    ("change", "stage", "tensor"),
    [
        (doubled("vision_tower.vision_model.pre_layrnorm.weight"), "vision_encoder", "image_features_rowsum"),
        (doubled("multi_modal_projector.linear_1.weight"), "vision_encoder", "image_features_rowsum"),
        (doubled("image_newline"), "vision_encoder", "image_features_rowsum"),
        (doubled("language_model.model.layers.0.self_attn.k_proj.weight"), "decoder", "output"),
        (doubled("language_model.lm_head.weight"), "decoder", "logits"),
    ],
)
def test_a_wrong_weight_turns_its_stage_red(
    change: Callable[[LlavaNext], object], stage: str, tensor: str, one_case: Path, judge: Judge
) -> None:
    found = first_red(one_case, judge, change)
    assert (found.stage, found.tensor) == (stage, tensor)


def test_tiles_in_another_order_turn_the_vision_encoder_red(
    one_case: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backwards(self: anyres.ViewLayout, first_view: int, newline: int) -> Any:
        index = feature_index(self, first_view, newline)
        last = (first_view + self.num_views) * self.patches**2 - 1
        tiles = (index >= (first_view + 1) * self.patches**2) & (index != newline)
        index[tiles] = last - (index[tiles] - (first_view + 1) * self.patches**2)
        return index

    feature_index = anyres.ViewLayout.feature_index
    monkeypatch.setattr(anyres.ViewLayout, "feature_index", backwards)
    found = first_red(one_case, judge, lambda model: None)
    assert (found.stage, found.tensor) == ("vision_encoder", "image_features_rowsum")


def test_another_rope_turns_the_decoder_red(one_case: Path, judge: Judge) -> None:
    found = first_red(one_case, judge, lambda model: model.language_model.model.rope.inv_freq.mul_(1.01))
    assert found.stage == "decoder"
    assert found.tensor == "output"


def test_a_batch_says_what_each_row_says_alone() -> None:
    """Padding on the left changes nothing: float32 sums over other widths, measured 4e-7 of the largest logit."""
    model = from_checkpoint(TINY)
    processor = LlavaNextProcessor.from_folder(TINY)
    short, long = (processor(text) for text in ("<s>[INST] Hi [/INST]", "<s>[INST] Hello, who are you? [/INST]"))
    missing = long["input_ids"].shape[1] - short["input_ids"].shape[1]
    ids = torch.tensor([[501] * missing + short["input_ids"][0].tolist(), long["input_ids"][0].tolist()])
    mask = torch.ones_like(ids)
    mask[0, :missing] = 0
    with torch.inference_mode():
        batch = model(ids, attention_mask=mask)
        alone = model(torch.from_numpy(short["input_ids"]))
    assert (batch[0, missing:] - alone[0]).abs().max() <= 1e-5 * alone.abs().max()
