"""P1: every stage that the authors' code recorded is reproduced, and what breaks the model turns the right one red."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from nexus_edge.models import from_checkpoint
from nexus_edge.models.molmo import crops, original
from nexus_edge.models.molmo.model import Molmo
from nexus_edge.models.molmo.processing import MolmoProcessor
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Judge
from nexus_edge.parity.tolerances import load

TINY = Path(__file__).parents[2] / "golden" / "molmo_tiny"
CASES = {"one_crop", "wide", "default12", "portrait", "text", "batch"}


@pytest.fixture(scope="module")
def judge() -> Judge:
    tolerances = load()
    return Judge(
        lambda stage: tolerances.gate("P1", stage, "", "float32", "real"),
        lambda stage: tolerances.near_tie("P1", stage, "float32"),
    )


def test_every_recording_is_reproduced(judge: Judge) -> None:
    checks = original.compare(TINY, judge)
    assert [check for check in checks if check.status != "passed"] == []
    assert {check.case.removesuffix(", answer") for check in checks} == CASES
    says_which = ("rows", "decode_ids", "decode_top1_minus_top2")
    wanted = [key for key in recorded() if key.split(".")[0] in CASES and not key.endswith(says_which)]
    assert len(checks) == len(wanted)
    assert {check.measures.get("top1_agreement", 1.0) for check in checks} == {1.0}


def recorded() -> dict[str, np.ndarray]:
    files = (safetensors.numpy.load_file(TINY / f"{name}.safetensors") for name in ("inputs", "outputs"))
    return {key: value for file in files for key, value in file.items()}


def test_two_images_would_share_the_tokens_of_the_first() -> None:
    """Why the processor refuses a second image: the original adds the features of both to the same embeddings."""
    ids, positions = (recorded()[f"two_images_quirk.{name}"] for name in ("input_ids", "image_input_idx"))
    first, second = np.split(positions, 2)
    assert np.array_equal(first, second)
    assert np.count_nonzero(ids == 514) == 2 * first.size


@pytest.fixture(scope="module")
def one_case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with the smallest image alone."""
    folder = tmp_path_factory.mktemp("golden") / "one"
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    cases = json.loads((folder / "cases.json").read_text("utf-8"))["cases"]
    (folder / "cases.json").write_text(json.dumps({"cases": [one for one in cases if one["name"] == "portrait"]}))
    return folder


def first_red(
    folder: Path, judge: Judge, change: Callable[[Molmo], object], processor: MolmoProcessor | None = None
) -> Check:
    model = from_checkpoint(TINY)
    assert isinstance(model, Molmo)
    change(model)
    checks = original.compare_with(folder, model, processor or MolmoProcessor.from_folder(TINY), judge)
    return next(check for check in checks if check.status == "failed")


def doubled(name: str) -> Callable[[Molmo], object]:
    def change(model: Molmo) -> None:
        model.get_parameter(name).data.mul_(2)

    return change


def swapped_halves(model: Molmo) -> None:
    """The gate first, as in other models."""
    for block in model.model.transformer.blocks:
        weight = block.ff_proj.weight
        weight.data = torch.cat(weight.data.chunk(2)[::-1])


def swapped_layers(model: Molmo) -> None:
    model.model.vision_backbone.image_vit.transformer.taken = tuple(reversed(model.params.feature_layers))


VISION, BLOCK = "model.vision_backbone", "model.transformer.blocks.0"


@pytest.mark.parametrize(
    ("change", "stage", "tensor"),
    [
        (doubled(f"{VISION}.image_vit.pre_ln.weight"), "vision_encoder", "vit_concat"),
        (swapped_layers, "vision_encoder", "vit_concat"),
        (doubled(f"{VISION}.pad_embed"), "vision_encoder", "pool_kv"),
        (doubled(f"{VISION}.image_pooling_2d.wq.weight"), "vision_encoder", "pooled"),
        (doubled(f"{VISION}.image_projector.w3.weight"), "vision_encoder", "projected"),
        (doubled("model.transformer.wte.new_embedding.weight"), "decoder", "inputs_embeds"),
        (doubled(f"{BLOCK}.att_proj.bias"), "decoder", "output"),
        (swapped_halves, "decoder", "output"),
        (lambda model: model.model.transformer.rope.inv_freq.mul_(1.01), "decoder", "output"),
        (doubled("model.transformer.ff_out.weight"), "decoder", "logits"),
    ],
)
def test_a_wrong_model_turns_its_stage_red(
    change: Callable[[Molmo], object], stage: str, tensor: str, one_case: Path, judge: Judge
) -> None:
    found = first_red(one_case, judge, change)
    assert (found.stage, found.tensor) == (stage, tensor)


def unshifted(self: crops.CropLayout) -> np.ndarray:
    return np.roll(masks(self), 1, axis=0)  # each view with the mask that stands where the view does


masks = crops.CropLayout.masks


@pytest.mark.parametrize(
    ("where", "name", "wrong", "stage", "tensor"),
    [
        (crops.CropLayout, "masks", unshifted, "tokens", "image_masks"),
        (crops, "EDGE", 1, "tokens", "input_ids"),
    ],
)
def test_wrong_inputs_turn_red(
    where: object, name: str, wrong: object, stage: str, tensor: str, one_case: Path, judge: Judge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(where, name, wrong)
    found = first_red(one_case, judge, lambda model: None)
    assert (found.stage, found.tensor) == (stage, tensor)


def test_another_normalisation_turns_the_processor_red(one_case: Path, judge: Judge) -> None:
    processor = replace(MolmoProcessor.from_folder(TINY), mean=(0.5, 0.5, 0.5))
    assert first_red(one_case, judge, lambda model: None, processor).stage == "processor"
