"""Prompts and views of Molmo: the table of crops, TensorFlow's resize, and text that stays text."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from PIL import Image

from nexus_edge.errors import CheckpointError, InputError, PromptError
from nexus_edge.models.molmo.crops import TOKENS, CropLayout, cut_crops, fitted, layout_of, layout_of_views, tiling
from nexus_edge.models.molmo.processing import MolmoProcessor
from nexus_edge.models.molmo.prompt import apply_chat_template
from nexus_edge.models.molmo.resize import resize_triangle
from nexus_edge.models.molmo.views import preprocess_image
from nexus_edge.processing import from_checkpoint
from nexus_edge.processing.messages import Message
from nexus_edge.processing.segments import ImagePlace, Prompt

TINY = Path(__file__).parents[2] / "golden" / "molmo_tiny"
FIRST, START, END, PATCH, COLUMN = 448, 512, 513, 514, 515
SMALL = TINY / "images/a_150x110.png"
QUESTION: list[Message] = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, {"type": "image"}]}]
ULPS = 1e-6  # of pixels in 0..1 and of their normalised values: sums of float32 in another order, measured 9e-7


@pytest.fixture(scope="module")
def processor() -> MolmoProcessor:
    return MolmoProcessor.from_folder(TINY)


def test_crops_of_400_sizes(processor: MolmoProcessor) -> None:
    recorded = safetensors.numpy.load_file(TINY / "inputs.safetensors")
    for (height, width), most, expected in zip(
        *(recorded[f"tiling.{name}"].tolist() for name in ("hw", "max_crops", "result_ij")), strict=True
    ):
        assert tiling(height, width, most) == tuple(expected)
        layout = layout_of(height, width, most)
        assert layout_of_views(height, width, layout.num_views) == layout  # so that nobody else needs to know the most
        rows, columns = expected
        # Counted by hand from the paper's overlap: each crop adds 8 rows or columns of tokens, the margins 4.
        assert layout.num_tokens == 158 + (8 * rows + 4) * (8 * columns + 5) + 2
        assert processor.with_most_views(most).count_image_tokens(width, height) == layout.num_tokens


def test_features_are_read_row_by_row() -> None:
    """By drawing: each token of each crop shows its place on the canvas, and every place is shown once, in order."""
    layout = layout_of(700, 1000, 6)
    assert (layout.rows, layout.columns) == (2, 3)
    tall, wide = layout.grid
    places = np.arange(tall * wide, dtype=np.float32).reshape(tall, wide)
    crops = [places[8 * row : 8 * row + TOKENS, 8 * column : 8 * column + TOKENS]
             for row in range(2) for column in range(3)]  # fmt: skip
    shown = np.concatenate([np.full(TOKENS**2, -1), np.concatenate([crop.ravel() for crop in crops])])
    index = layout.feature_index()
    assert index[: TOKENS**2].tolist() == list(range(TOKENS**2))
    assert shown[index[TOKENS**2 :]].tolist() == places.ravel().tolist()
    assert layout.num_features == len(index)


def test_a_token_is_taken_from_the_crop_whose_middle_is_nearer() -> None:
    index = layout_of(200, 560, 2).feature_index()[TOKENS**2 :].reshape(12, 20)
    assert (index // TOKENS**2).tolist() == [[1] * 10 + [2] * 10] * 12


def test_masks_stand_at_the_view_before_theirs() -> None:
    """The image covers the left crop and half of the right one's height is padding above and below."""
    layout = CropLayout(1, 2, 168, 560)
    masks = layout.masks()
    assert masks.shape == (3, 576) and set(np.unique(masks)) == {-1.0, 0.0, 1.0}
    real = np.repeat([False, True, False], [6 * 24, 12 * 24, 6 * 24])
    assert np.array_equal(masks[0] == 1, real) and np.array_equal(masks[1] == 1, real)
    assert (masks[2] == -1).all()


def test_resize_is_tensorflows() -> None:
    recorded = safetensors.numpy.load_file(TINY / "outputs.safetensors")
    pixels = np.asarray(Image.open(SMALL).convert("RGB")).astype(np.float32) / np.float32(255)
    size = fitted(*pixels.shape[:2], (60, 84))
    assert size == (60, 81)
    down = recorded["resize_unit.down"]
    assert np.abs(resize_triangle(pixels, *size) - down[:, 1:82]).max() <= ULPS
    assert not down[:, 0].any() and not down[:, 82:].any()


@pytest.mark.parametrize("size", [(40, 300), (300, 40), (37, 53), (500, 700), (1, 1)])
def test_resize_is_torchs_but_for_the_positions(size: tuple[int, int]) -> None:
    """torch has positions in float64, TensorFlow in float32: off by 500 * 6e-8 of a pixel, levels at most as much."""
    pixels = np.random.default_rng(0).random((110, 150, 3), dtype=np.float32)
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    assert np.abs(resize_triangle(pixels, *size) - expected.numpy()).max() <= 1e-4


def test_crops_are_the_padded_image() -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(1, 256, (224, 560, 3), dtype=np.uint8))
    views, layout = preprocess_image(image, 4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert (layout.rows, layout.columns, layout.height, layout.width) == (1, 2, 224, 560)
    canvas = np.zeros((336, 560, 3), dtype=np.float32)
    canvas[56:280] = np.asarray(image).astype(np.float32) / np.float32(255)
    crops = cut_crops(canvas, 1, 2)
    assert np.array_equal(crops[0][:, 224:], crops[1][:, :112])
    assert np.abs(views[1:].transpose(0, 2, 3, 1) - crops).max() <= ULPS  # weights of 1 and 0 but for rounding


def test_an_extreme_shape_keeps_a_row_of_pixels(processor: MolmoProcessor) -> None:
    """One crop, as it is thinner than the margins. The original fails: 336 / 5000 of a pixel is rounded down to 0."""
    inputs = processor("", [Image.new("RGB", (5000, 1), "white")])
    assert inputs["pixel_values"].shape == (1, 2, 3, 336, 336)


def test_the_image_comes_first(processor: MolmoProcessor) -> None:
    one = processor.with_most_views(1)
    ids = one(one.apply_chat_template(QUESTION), SMALL)["input_ids"][0].tolist()
    row = [PATCH] * 12 + [COLUMN]
    whole = [START, *row * 12, END]
    assert ids[: 1 + 2 * len(whole)] == [FIRST, *whole, *whole]
    assert ids[1 + 2 * len(whole) :] == one(" User: What is it? Assistant:")["input_ids"][0].tolist()[1:]
    assert np.array_equal(ids, one(" User: What is it? Assistant:", SMALL)["input_ids"][0])


# Turns as the authors' training code formats them: each begins with a space, and the user's opens the answer.
def test_a_conversation() -> None:
    messages: list[Message] = [
        *QUESTION,
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Where?"},
    ]
    expected = " User: What is it? Assistant: A cat. User: Where? Assistant:"
    assert str(apply_chat_template(messages)) == f"<|image_1|>{expected}"
    assert str(apply_chat_template(messages, False)) == f"<|image_1|>{expected}".removesuffix(" Assistant:")


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "the conversation is empty"),
        ([{"role": "system", "content": "Be brief."}], "unknown role 'system'"),
        ([{"role": "assistant", "content": "A cat."}], "must alternate"),
        ([QUESTION[0], QUESTION[0]], "must alternate"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "unknown message part 'audio'"),
    ],
)
def test_other_conversations_are_refused(messages: Any, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        apply_chat_template(messages)


@pytest.mark.parametrize("text", ["<im_patch>", "<|endoftext|>", "a<im_start>b", "<|image|>"])
def test_text_of_users_never_becomes_control_tokens(processor: MolmoProcessor, text: str) -> None:
    made = processor(processor.apply_chat_template([{"role": "user", "content": text}]))
    assert made["input_ids"][0, 1:].max() < FIRST
    assert text in processor.decode(made["input_ids"][0].tolist())


@pytest.mark.parametrize(
    ("prompt", "images", "message"),
    [
        (" User: a Assistant:", [SMALL, SMALL], "one image in a prompt, and 2 were given"),
        (" User: <im_patch> Assistant:", [], "tokens of images"),
        (" User: <|image|> Assistant:", [SMALL], "tokens of images"),
        (Prompt((ImagePlace(1), " User: a")), [], "takes 1 image, and 0 were given"),
        (Prompt((" User: a",)), [SMALL], "takes 0 images, and 1 was given"),
        (Prompt((" User: a", ImagePlace(1))), [SMALL], "put the image first"),
        (["a", "b"], [], "one text per call"),
    ],
)
def test_places_and_images_must_fit(processor: MolmoProcessor, prompt: Any, images: list[Path], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        processor(prompt, images)


@pytest.mark.parametrize(
    ("text", "whole"), [("What is it?", False), (" User: a Assistant:", True), ("a <|image|>", True)]
)
def test_whole_prompts_are_told_from_questions(processor: MolmoProcessor, text: str, whole: bool) -> None:
    assert processor.is_whole_prompt(text) is whole


def test_crops_can_be_chosen(processor: MolmoProcessor) -> None:
    assert processor.most_views == 12
    assert processor.with_most_views(4).most_views == 4
    for wrong in (0, 1000):
        with pytest.raises(InputError, match=f"max_crops is {wrong}"):
            processor.with_most_views(wrong)


def test_the_first_id_is_what_ends_an_answer(processor: MolmoProcessor) -> None:
    assert processor.stop_ids == (FIRST,)
    assert processor("")["input_ids"].tolist() == [[FIRST]]


def edited(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / name).read_text("utf-8"))
        change(config)
        (folder / name).write_text(json.dumps(config), "utf-8")

    return edit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edited("config.json", lambda c: c.update(vocab_size=510)), "<im_start> has id 512, and vocab_size in config"),
        (edited("preprocessor_config.json", lambda c: c.pop("max_crops")), "max_crops"),
        (edited("preprocessor_config.json", lambda c: c.update(max_crops=1000)), "max_crops is 1000"),
        (edited("preprocessor_config.json", lambda c: c.update(image_std=[1, 1])), "image_std is"),
        (edited("tokenizer_config.json", lambda c: c.update(eos_token="<eos>")), "eos_token '<eos>' is not in"),
    ],
)
def test_files_that_disagree_are_refused(change: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.safetensors", "images", "cases.json"))
    change(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        from_checkpoint(folder)
    assert "\n" not in str(caught.value)
