"""Calibration on a user's own samples: what is read, what is refused, and that images reach the decoder."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from nexus_edge.assets.heldout import held_out_questions
from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.errors import InputError, RecipeError
from nexus_edge.families import family_named
from nexus_edge.models.loading import build_empty, load_weights, weights_of
from nexus_edge.parity.vlm.streamed import Streamed, source_reader
from nexus_edge.pipeline.calibration import measure
from nexus_edge.pipeline.own_calibration import TOKENS, CalibrationWarning, OwnCalibration, embedded
from nexus_edge.pipeline.preview import preview
from nexus_edge.pipeline.request import ExportRequest
from nexus_edge.processing import from_checkpoint
from nexus_edge.recipe import find_recipe

CHECKPOINT = open_checkpoint("tiny", "microsoft/Phi-3-vision-128k-instruct")
WEIGHTS = weights_of(CHECKPOINT)


@pytest.fixture
def own(tmp_path: Path) -> OwnCalibration:
    """A text, and a text with an image."""
    image = str(held_out_questions()[0].image)
    lines = [{"text": "blue word bus"}, {"text": "What is shown in this picture?", "image": image}]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
    return OwnCalibration.read(path)


def test_images_reach_the_decoder(own: OwnCalibration) -> None:
    """The rows are those that the whole model is given, sample by sample."""
    assert CHECKPOINT.folder is not None
    processor = from_checkpoint(CHECKPOINT.folder)
    model, whole = build_empty(CHECKPOINT), build_empty(CHECKPOINT)
    load_weights(whole, CHECKPOINT, torch.float32)
    with torch.inference_mode():
        found = embedded(own, processor, Streamed(model, family_named("phi3_v").split(), source_reader(WEIGHTS)))
        prompts = [
            processor.apply_chat_template([{"role": "user", "content": content}])
            for content in (
                [{"type": "text", "text": own.samples[0].text}],
                [{"type": "image"}, {"type": "text", "text": own.samples[1].text}],
            )
        ]
        rows = []
        for prompt, sample in zip(prompts, own.samples, strict=True):
            inputs = processor(prompt, list(sample.images))
            ids = torch.from_numpy(inputs["input_ids"])
            x = whole.model.embed_tokens(ids.clamp(min=0))
            if sample.images:
                pixels, sizes = (torch.from_numpy(inputs[name]) for name in ("pixel_values", "image_sizes"))
                x[ids < 0] = whole.image_features(pixels, sizes)
            rows.append(x)
    torch.testing.assert_close(found, torch.cat(rows, dim=1)[:, :TOKENS], rtol=1e-5, atol=1e-5)
    assert found.shape[1] > 300, "the image's tokens are among them"


def test_other_samples_measure_other_activations(own: OwnCalibration) -> None:
    name = "model.layers.0.self_attn.qkv_proj"
    ours, theirs = (measure(WEIGHTS, text, lambda step, share: None)[name] for text in (own, "general"))
    assert ours.mean.shape == theirs.mean.shape
    assert not torch.allclose(ours.mean, theirs.mean, rtol=0.05)


def test_the_manifest_names_the_file(own: OwnCalibration) -> None:
    recipe = find_recipe("phi3-vision", "int4")
    told = recipe.calibrated(own.name)
    assert own.name.startswith("mine.jsonl, SHA-256 ")
    assert {graph.calibration for graph in told.graphs.values()} == {None, own.name}
    assert {name for name, graph in told.graphs.items() if graph.calibration} == {
        name for name, graph in recipe.graphs.items() if graph.calibration
    }


@pytest.mark.parametrize(("precision", "checkpoint"), [("fp32", "tiny"), ("int4", "synthetic")])
def test_samples_that_nothing_uses_are_refused_in_a_dry_run_too(
    own: OwnCalibration, tmp_path: Path, precision: str, checkpoint: str
) -> None:
    request = ExportRequest.resolve("phi3-vision", precision, checkpoint=checkpoint, out=tmp_path / "out")
    with pytest.raises(RecipeError, match="leave out --calibration"):
        preview(request, calibration=tmp_path / "mine.jsonl")
    with pytest.raises(RecipeError, match="leave out --calibration"):
        request.run(calibration=tmp_path / "mine.jsonl")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_reads_the_samples(own: OwnCalibration, tmp_path: Path) -> None:
    request = ExportRequest.resolve("phi3-vision", "int4", checkpoint="tiny", out=tmp_path / "out")
    assert preview(request, calibration=tmp_path / "mine.jsonl").total > 0
    with pytest.raises(InputError, match=r"nowhere\.jsonl: cannot be read"):
        preview(request, calibration=tmp_path / "nowhere.jsonl")


def test_the_name_covers_images_and_what_is_left_out_is_said(own: OwnCalibration, tmp_path: Path) -> None:
    path, image = tmp_path / "many.jsonl", tmp_path / "image.png"
    path.write_text("\n".join(['{"text": "What is shown?", "image": "image.png"}'] * 30), "utf-8")
    names = set()
    for level in (0, 255):
        Image.new("RGB", (336, 336), (level, level, level)).save(image)
        names.add(OwnCalibration.read(path).name)
    assert len(names) == 2
    with pytest.warns(CalibrationWarning, match=r"the first \d+ of 30 samples have 2,048 tokens, all that are used"):
        measure(WEIGHTS, OwnCalibration.read(path), lambda step, share: None)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "has no samples"),
        ("\n{", "mine.jsonl:2: is not valid JSON"),
        ('\n{"text": "a", "text": "b"}', "mine.jsonl:2: is not valid JSON: the key 'text' appears twice"),
        ('{"txt": "a"}', "unknown key 'txt'"),
        ('{"text": " "}', "mine.jsonl:1: text is empty"),
        ('{"text": "a", "image": "nowhere.png"}', "nowhere.png"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(content, "utf-8")
    with pytest.raises(InputError, match=problem):
        OwnCalibration.read(path)
