"""Pixels and prompts of Phi-3-Vision against the original processor's, to the last bit."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from PIL import Image

from nexus_edge.errors import CheckpointError, ImageError, InputError, PromptError
from nexus_edge.models.phi3_v.processing import CLIP_MEAN, CLIP_STD, Phi3VProcessor, preprocess_images

CASES = json.loads((Path(__file__).parents[1] / "golden/phi3_vision_preprocess/expected.json").read_text())
GREY = Image.new("RGB", (20, 30), "grey")


@pytest.fixture
def processor(checkpoint: Path) -> Phi3VProcessor:
    return Phi3VProcessor.from_folder(checkpoint)


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.mark.parametrize("case", [case for case in CASES if "error" not in case], ids=lambda case: case["key"])
def test_pixels_are_the_originals(golden: Path, case: dict) -> None:
    files = [golden / "phi3_vision_preprocess" / name for name in case.get("files", [case.get("file")])]
    pixel_values, image_sizes, num_img_tokens = preprocess_images(files, case["num_crops"])
    assert list(pixel_values.shape) == case["pixel_values_shape"]
    assert pixel_values.dtype == np.float32 and image_sizes.dtype == np.int64
    assert image_sizes.tolist() == case["image_sizes"]
    assert num_img_tokens == case["num_img_tokens"]
    # All of it, with the global view: our bicubic rounds where the original's does, and has no other arithmetic.
    assert sha256(pixel_values) == case["sha256_pixel_values"]


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case], ids=lambda case: case["key"])
def test_the_original_fails_where_we_explain(golden: Path, case: dict) -> None:
    with pytest.raises(ImageError, match="too narrow"):
        preprocess_images([golden / "phi3_vision_preprocess" / case["file"]], case["num_crops"])


def test_crops_are_the_padded_image_cut_row_by_row() -> None:
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (300, 500, 3), dtype=np.uint8))
    pixel_values, image_sizes, _ = preprocess_images([image], 7, mean=(0, 0, 0), std=(1, 1, 1))
    height, width = image_sizes[0]
    crops = iter(pixel_values[0, 1:])
    rows = [np.concatenate([next(crops) for _ in range(width // 336)], axis=2) for _ in range(height // 336)]
    padded = np.concatenate(rows, axis=1).transpose(1, 2, 0)
    landscape = image.resize((1008, 604), Image.Resampling.BILINEAR)  # 3 columns, 1008 / (500 / 300) = 604.8 rows
    assert np.array_equal(padded[34:638], np.asarray(landscape, np.float32) / np.float32(255))
    assert np.all(padded[:34] == 1) and np.all(padded[638:] == 1)
    assert all(np.all(rest == 0) for rest in crops)  # the views that are not needed


def test_other_normalisation_is_used() -> None:
    white = Image.new("RGB", (336, 336), "white")
    pixel_values, _, _ = preprocess_images([white], 1, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))
    assert pixel_values[0, 1, :, 0, 0].tolist() == [1.0, 3.0, 0.5]


def test_no_images_give_empty_arrays() -> None:
    pixel_values, image_sizes, num_img_tokens = preprocess_images([], 4)
    assert pixel_values.shape == (0, 5, 3, 336, 336) and image_sizes.shape == (0, 2) and num_img_tokens == []


def test_crops_below_one_are_refused() -> None:
    with pytest.raises(InputError, match="num_crops is 0"):
        preprocess_images([GREY], 0)


def test_the_wrong_image_of_several_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^image 2 cannot be read"):
        preprocess_images([GREY, b"nonsense"], 1)
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        preprocess_images([GREY, tmp_path / "gone.png"], 1)


def test_images_stand_in_the_prompt_as_runs_of_negative_ids(
    processor: Phi3VProcessor, core: tokenizers.Tokenizer
) -> None:
    wide = Image.new("RGB", (100, 37))
    inputs = processor("<|user|>\n<|image_2|>\n<|image_1|>", [GREY, wide])
    ids = inputs["input_ids"]
    assert (
        ids.dtype == np.int64 and ids.shape == inputs["attention_mask"].shape and np.all(inputs["attention_mask"] == 1)
    )
    assert inputs["pixel_values"].shape == (2, 5, 3, 336, 336)
    assert inputs["image_sizes"].tolist() == [[336, 672], [672, 672]], "in the order of the places, wide first"
    bos, user = core.token_to_id("<s>"), core.token_to_id("<|user|>")
    newline = [core.token_to_id("▁"), core.token_to_id("<0x0A>")]
    expected = [bos, user, *newline, *[-2] * 457, bos, *newline, *[-1] * 757, bos]
    assert ids.tolist() == [expected]
    assert processor.count_image_tokens(100, 37) == 457


@pytest.mark.parametrize("images", [None, []])
def test_text_alone_has_no_pixels(processor: Phi3VProcessor, images: list | None) -> None:
    inputs = processor("the cat", images)
    assert sorted(inputs) == ["attention_mask", "input_ids"]
    assert inputs["input_ids"].tolist() == [processor.encode("the cat")]


@pytest.mark.parametrize(
    ("prompt", "images", "error"),
    [
        ("<|image_1|>", None, PromptError),
        ("no tag", [GREY], PromptError),
        (["two", "prompts"], None, PromptError),
        ("<|image_1|>", "scan.png", ImageError),
        ("<|image_1|>", np.zeros((9, 9), np.float32), ImageError),
        ("<|image_1|>", {"image": GREY}, ImageError),
        ("<|image_1|>", 5, ImageError),
        ("half a pair \ud83d", None, PromptError),
    ],
)
def test_what_does_not_fit_is_refused(
    processor: Phi3VProcessor, prompt: object, images: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        processor(prompt, images)  # type: ignore[arg-type]


def test_tags_are_checked_before_any_image_is_read(processor: Phi3VProcessor, tmp_path: Path) -> None:
    with pytest.raises(PromptError):
        processor("no tag", [tmp_path / "gone.png"])


def test_stop_ids_come_from_the_vocabulary(processor: Phi3VProcessor, core: tokenizers.Tokenizer) -> None:
    names = ("<|end|>", "<|assistant|>", "<|endoftext|>", "</s>")
    assert processor.stop_ids == tuple(core.token_to_id(name) for name in names)


def test_real_checkpoint(real_checkpoint: Path) -> None:
    real = Phi3VProcessor.from_folder(real_checkpoint)
    assert real.stop_ids == (32007, 32001, 32000, 2)
    assert (real.num_crops, real.mean, real.std) == (16, CLIP_MEAN, CLIP_STD)
    inputs = real("<|user|>\n<|image_1|>\nWhat is shown in this image?<|end|>\n<|assistant|>\n", [GREY])
    question = [1, 29871, 13, 5618, 338, 4318, 297, 445, 1967, 29973, 32007, 29871, 13, 32001]
    assert inputs["input_ids"].tolist() == [[1, 32010, 29871, 13, *[-1] * real.count_image_tokens(20, 30), *question]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "preprocessor_config.json is missing"),
        ({}, "num_crops is missing"),
        ({"num_crops": 0}, "num_crops is 0"),
        ({"num_crops": True}, "num_crops is True"),
        ({"num_crops": 4, "num_img_tokens": 256}, "num_img_tokens is 256"),
        ({"num_crops": 4, "image_mean": [0.5, 0.5]}, "image_mean is"),
        ({"num_crops": 4, "image_mean": 0.5}, "image_mean is"),
        ({"num_crops": 4, "image_std": [0.5, float("nan"), 0.5]}, "image_std is"),
        ({"num_crops": 4, "image_std": [0.5, 0.5, 0]}, "image_std is"),
    ],
)
def test_a_wrong_preprocessor_config_is_explained(checkpoint: Path, content: dict | None, message: str) -> None:
    path = checkpoint / "preprocessor_config.json"
    path.unlink()
    if content is not None:
        path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        Phi3VProcessor.from_folder(checkpoint)


def test_a_tokenizer_of_another_family_is_refused(checkpoint: Path, core: tokenizers.Tokenizer) -> None:
    text = core.to_str().replace("<|end|>", "<|im_end|>")
    (checkpoint / "tokenizer.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"no token <\|end\|>"):
        Phi3VProcessor.from_folder(checkpoint)
