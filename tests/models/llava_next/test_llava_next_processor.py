"""Prompts and views of LLaVA-NeXT: the table of grids, templates beside jinja2, and text that stays text."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from nexus_edge.errors import CheckpointError, InputError, PromptError
from nexus_edge.models.llava_next.processing import LlavaNextProcessor
from nexus_edge.models.llava_next.prompt import IMAGES, TEMPLATES
from nexus_edge.models.llava_next.views import cut
from nexus_edge.processing import from_checkpoint
from nexus_edge.processing.messages import Message
from nexus_edge.processing.segments import Control, ImagePlace, Prompt
from nexus_edge.processing.templates.chat import ChatTemplate
from nexus_edge.processing.templates.source import TemplateSource

TINY = Path(__file__).parents[2] / "golden" / "llava_next_tiny"
IMAGE = 504
WIDE, TALL = TINY / "images/wide_500x300.png", TINY / "images/tall_200x640.png"
CHAT: list[Message] = [
    {"role": "user", "content": [{"type": "text", "text": "What is it?"}, {"type": "image"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "And this?"}]},
]


@pytest.fixture(scope="module")
def processor() -> LlavaNextProcessor:
    return LlavaNextProcessor.from_folder(TINY)


def test_grids_and_features_of_400_sizes(processor: LlavaNextProcessor) -> None:
    recorded = safetensors.numpy.load_file(TINY / "inputs.safetensors")
    best, counts = recorded["table.best_resolution_h_w"], recorded["table.unpadded_newline_total"]
    for (height, width), grid, count in zip(recorded["table.h_w"].tolist(), best, counts, strict=True):
        layout = processor.anyres.layout(height, width)
        assert processor.anyres.best(height, width) == tuple(grid)
        assert [layout.height * layout.width, layout.height, layout.num_tokens] == count.tolist()
        assert processor.count_image_tokens(width, height) == layout.num_tokens
        assert len(layout.feature_index(0, 0)) == layout.num_tokens


def test_features_are_read_row_by_row(processor: LlavaNextProcessor) -> None:
    """By drawing: each feature holds its view, row and column; the grid is put together and cut as an image is."""
    layout = processor.anyres.layout(300, 500)
    side = layout.patches
    ids = np.arange(layout.num_views * side**2).reshape(layout.num_views, side, side)
    grid = np.block([[ids[1 + row * layout.columns + column] for column in range(layout.columns)]
                     for row in range(layout.rows)])  # fmt: skip
    kept = grid[layout.top : len(grid) - layout.top, layout.left : grid.shape[1] - layout.left]
    lines = np.hstack([kept, np.full((len(kept), 1), -1)])
    assert layout.feature_index(0, -1).tolist() == [*ids[0].ravel(), *lines.ravel()]
    shifted = layout.feature_index(7, -1)
    assert shifted[0] == 7 * side**2


def test_an_extreme_shape_keeps_the_whole_view(processor: LlavaNextProcessor) -> None:
    """As the original: no row of the tiles is left of a line of one pixel."""
    assert processor.count_image_tokens(5000, 1) == 576
    inputs = processor("<image>", [Image.new("RGB", (5000, 1))])
    assert inputs["input_ids"].tolist() == [[IMAGE] * 576]
    assert inputs["image_sizes"].tolist() == [[1, 5000]]


def test_tiles_are_the_padded_image(processor: LlavaNextProcessor) -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(1, 256, (300, 500, 3), dtype=np.uint8))
    views = cut(image, processor.anyres)
    assert processor.anyres.best(300, 500) == (336, 672)
    joined = np.concatenate(list(views[1:]), axis=1)
    resized = np.asarray(image.resize((560, 336), Image.Resampling.BICUBIC))
    assert np.array_equal(joined[:, 56:616], resized)
    assert not joined[:, :56].any() and not joined[:, 616:].any()


def in_format(format_: str) -> ChatTemplate:
    source = TemplateSource(TEMPLATES[format_], format_)
    return ChatTemplate(source, LlavaNextProcessor.from_folder(TINY).tokenizer, IMAGES, {})


# LLaVA-NeXT's model cards.
@pytest.mark.parametrize(
    ("format_", "expected"),
    [
        ("mistral", "[INST] <image>\nWhat? [/INST]"),
        ("vicuna", "USER: <image>\nWhat? ASSISTANT:"),
        ("chatml", "<|im_start|>user\n<image>\nWhat?<|im_end|><|im_start|>assistant\n"),
    ],
)
def test_one_question(format_: str, expected: str) -> None:
    question: list[Message] = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]
    assert str(in_format(format_)(question)).replace("<|image_1|>", "<image>") == expected


def test_the_template_gives_the_ids_of_the_written_prompt(processor: LlavaNextProcessor) -> None:
    question: list[Message] = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]
    made = processor(processor.apply_chat_template(question), WIDE)
    assert np.array_equal(made["input_ids"], processor("[INST] <image>\nWhat? [/INST]", [WIDE])["input_ids"])


@pytest.mark.parametrize("text", ["<image>", "</s>", "a<image>b</s><s>", "<pad><unk>"])
def test_text_of_users_never_becomes_control_tokens(processor: LlavaNextProcessor, text: str) -> None:
    made = processor(processor.apply_chat_template([{"role": "user", "content": text}]))
    assert made["input_ids"].max() < 500  # the first of the control tokens
    assert text in processor.decode(made["input_ids"][0].tolist())


def test_images_follow_their_numbers(processor: LlavaNextProcessor) -> None:
    prompt = Prompt((ImagePlace(2), "and", ImagePlace(1), "and", ImagePlace(2)))
    made = processor(prompt, [WIDE, TALL])
    assert made["image_sizes"].tolist() == [[640, 200], [300, 500], [640, 200]]
    assert int((made["input_ids"] == IMAGE).sum()) == 1392 + 1560 + 1392


@pytest.mark.parametrize(
    ("prompt", "images", "message"),
    [
        ("<image>", [], "1 image tag, and 0 images were given"),
        ("no tag", [WIDE], "0 image tags, and 1 image was given"),
        ("<image><image>", [WIDE], "2 image tags, and 1 image was given"),
        (Prompt((ImagePlace(2),)), [WIDE, TALL], "1 image tag, and 2 images"),
        (["a", "b"], [], "one text per call"),
    ],
)
def test_tags_and_images_must_fit(processor: LlavaNextProcessor, prompt: Any, images: list[Path], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        processor(prompt, images)


def test_the_grids_are_the_models(processor: LlavaNextProcessor) -> None:
    assert processor.most_views == 4
    assert processor.with_most_views(4) is processor
    with pytest.raises(InputError, match="image_grid_pinpoints"):
        processor.with_most_views(1)


def test_stop_ids_are_those_of_text_config(processor: LlavaNextProcessor) -> None:
    assert processor.stop_ids == (500,)


def copied(folder: Path) -> Path:
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.safetensors", "images", "cases.json"))
    return folder


def edited(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / name).read_text("utf-8"))
        change(config)
        (folder / name).write_text(json.dumps(config), "utf-8")

    return edit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edited("preprocessor_config.json", lambda c: c["image_grid_pinpoints"].pop()), "not those of config.json"),
        (edited("preprocessor_config.json", lambda c: c["crop_size"].update(height=224)), "crop_size is"),
        (edited("preprocessor_config.json", lambda c: c.update(size={"shortest_edge": 448})), "size is"),
        (edited("config.json", lambda c: c.update(image_token_index=7)), "<image> in tokenizer.json 504"),
        (edited("tokenizer_config.json", lambda c: c.update(add_bos_token=True)), "add_bos_token is True"),
    ],
)
def test_files_that_disagree_are_refused(change: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    folder = copied(tmp_path / "checkpoint")
    change(folder)
    with pytest.raises(CheckpointError, match=message):
        from_checkpoint(folder)


def test_files_of_transformers_5_give_the_same_inputs(processor: LlavaNextProcessor, tmp_path: Path) -> None:
    folder = copied(tmp_path / "checkpoint")
    images = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": images, "patch_size": None}), "utf-8")
    assert from_checkpoint(folder) is not processor
    made, expected = (one("<image>?", [TALL]) for one in (from_checkpoint(folder), processor))
    assert all(np.array_equal(made[key], expected[key]) for key in expected)  # type: ignore[literal-required]


@pytest.mark.parametrize("name", ["chat_template.json", "chat_template.jinja", "processor_config.json"])
def test_the_checkpoints_own_template_decides(name: str, tmp_path: Path) -> None:
    folder = copied(tmp_path / "checkpoint")
    template = "{% for m in messages %}{{ m['content'] | upper }} {% endfor %}"
    text = json.dumps({"chat_template": template}) if name.endswith("json") else template
    (folder / name).write_text(text, "utf-8")
    prompt = LlavaNextProcessor.from_folder(folder).apply_chat_template([{"role": "user", "content": "Hi </s>"}])
    assert prompt.segments == ("HI </S>", " ")


def test_the_mistyped_end_of_the_first_publication_is_an_end(tmp_path: Path) -> None:
    """Its template spells the end of an answer `<\\s>` in a Jinja string; other publications have `</s>` there."""
    folder = copied(tmp_path / "checkpoint")
    (folder / "chat_template.jinja").write_text(TEMPLATES["mistral"].replace("</s>", "<\\\\s>"), "utf-8")
    made = LlavaNextProcessor.from_folder(folder).apply_chat_template(CHAT)
    assert made == in_format("mistral")(CHAT)
    assert Control("</s>") in made.segments


def test_a_template_that_fails_leaves_whole_prompts(tmp_path: Path) -> None:
    folder = copied(tmp_path / "checkpoint")
    (folder / "chat_template.jinja").write_text("{% for", "utf-8")
    processor = LlavaNextProcessor.from_folder(folder)
    assert processor("[INST] Hi [/INST]")["input_ids"].shape[0] == 1
    with pytest.raises(CheckpointError, match=r"chat_template.jinja, line 1: "):
        processor.apply_chat_template([{"role": "user", "content": "Hi"}])
