"""Runtime facts against what the originals recorded: another reader of them would get the same numbers and prompts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nexus_edge.families import families
from nexus_edge.interfaces.facts import (
    AnyresUnpad,
    DualEncoderFacts,
    HdCrops,
    ImageToken,
    JinjaTemplate,
    LongRope,
    Sequential,
    Turns,
    VlmFacts,
)
from nexus_edge.processing.messages import Message
from nexus_edge.processing.segments import Control, Prompt
from nexus_edge.processing.turns import render, turns_of

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden"
PHI3, BIOMEDCLIP = ROOT / "nexus_edge/assets/tiny_phi3_v", ROOT / "nexus_edge/assets/tiny_biomedclip"
LLAVA = GOLDEN / "llava_next_tiny"


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def vlm(family: str, folder: Path, **changes: object) -> VlmFacts:
    facts = families()[family].facts(read(folder / "config.json") | changes, folder)
    assert isinstance(facts, VlmFacts)
    return facts


def positions(facts: VlmFacts, parts: dict[str, tuple[int, int]]) -> int:
    """Of an image whose parts have so many rows and columns of features, as the layout says."""
    taken = 0
    for part in facts.layout.order:
        rows, columns = parts.get(part, (1, 1))
        taken += rows * (columns + (part in facts.layout.row_ends))
    return taken


def test_phi3s_layout_takes_as_many_positions_as_the_original_counts() -> None:
    facts = vlm("phi3_v", PHI3)
    assert isinstance(facts.images, HdCrops)
    side, view = facts.images.tokens_per_side, facts.images.view
    cases = [case for case in read(GOLDEN / "phi3_vision_preprocess/expected.json") if "image_sizes" in case]
    assert len(cases) > 20
    for case in cases:
        for (height, width), expected in zip(case["image_sizes"], case["num_img_tokens"], strict=True):
            parts = {"crops": (side * height // view, side * width // view), "overview": (side, side)}
            assert positions(facts, parts) == expected, case["key"]


def test_phi3s_frames_write_the_prompts_of_the_original() -> None:
    chat = vlm("phi3_v", PHI3).chat
    assert isinstance(chat, Turns)
    for case in read(GOLDEN / "phi3_tokenizer/expected.json")["chats"]:
        assert render(chat, case["messages"]) == case["text_add_generation_prompt_True"]


def test_phi3s_numbers_are_those_of_its_files() -> None:
    facts = vlm("phi3_v", PHI3)
    config, images, tokens = (
        read(PHI3 / name) for name in ("config.json", "preprocessor_config.json", "tokenizer.json")
    )
    ids = {token["content"]: token["id"] for token in tokens["added_tokens"]}
    assert isinstance(facts.images, HdCrops)
    assert facts.images.most_crops == images["num_crops"]
    assert list(facts.images.mean) == images["image_mean"] and list(facts.images.std) == images["image_std"]
    assert facts.positions == LongRope(limit=config["original_max_position_embeddings"])
    assert all(ids[token] == id_ for token, id_ in facts.tokenizer.special.items())
    assert {ids[token] for token in ("<|end|>", "<|endoftext|>", "</s>")} <= set(facts.stop_ids)
    assert facts.tokenizer.bos_id == ids["<s>"]


def test_a_context_within_the_short_factors_has_plain_positions() -> None:
    limit = read(PHI3 / "config.json")["original_max_position_embeddings"]
    assert vlm("phi3_v", PHI3, max_position_embeddings=limit).positions == Sequential()


def test_the_order_of_the_views_is_the_checkpoints() -> None:
    layer = read(PHI3 / "config.json")["embd_layer"]
    other = vlm("phi3_v", PHI3, embd_layer=layer | {"hd_transform_order": "glb_sub"})
    assert other.layout.order == ("overview", "separator", "crops")
    assert vlm("phi3_v", PHI3).layout.order == ("crops", "separator", "overview")


def test_llava_nexts_facts_are_those_of_its_files() -> None:
    facts, config = vlm("llava_next", LLAVA), read(LLAVA / "config.json")
    assert isinstance(facts.images, AnyresUnpad)
    assert [list(grid) for grid in facts.images.grids] == config["image_grid_pinpoints"]
    assert facts.image_place == ImageToken(text="<image>", id=config["image_token_index"])
    # Of 500 x 300 pixels in a grid of 336 x 672 nothing is padding: 24 x 24, and 24 rows of 40 and a newline.
    (wide,) = (case for case in read(LLAVA / "cases.json")["cases"] if case["name"] == "wide")
    assert positions(facts, {"overview": (24, 24), "crops": (24, 40)}) == wide["n_image_tokens"]


def test_biomedclips_facts_are_those_of_its_file() -> None:
    config = read(BIOMEDCLIP / "open_clip_config.json")
    facts = families()["biomedclip"].facts(config, BIOMEDCLIP)
    assert isinstance(facts, DualEncoderFacts)
    assert list(facts.images.mean) == config["preprocess_cfg"]["mean"]
    assert list(facts.images.std) == config["preprocess_cfg"]["std"]
    assert facts.images.size == config["model_cfg"]["vision_cfg"]["image_size"]
    assert facts.score == "softmax" and facts.tokenizer.special["[CLS]"] == 2


def test_a_template_that_is_not_made_of_frames_takes_jinja() -> None:
    def numbered(messages: list[Message], opened: bool) -> Prompt:
        """Each turn says which one it is."""
        segments: list[str | Control] = []
        for index, message in enumerate(messages):
            parts = message["content"] if not isinstance(message["content"], str) else []
            segments += [Control(f"<|turn {index}|>"), *(part["text"] for part in parts if part["type"] == "text")]
        return Prompt(tuple(segments))

    assert turns_of(numbered) == JinjaTemplate()


def with_template(folder: Path, template: str) -> VlmFacts:
    """The facts of the tiny Phi-3-Vision with a template of its own."""
    shutil.copytree(PHI3, folder, ignore=shutil.ignore_patterns("heldout", "*.safetensors"))
    (folder / "chat_template.jinja").write_text(template, "utf-8")
    return vlm("phi3_v", folder)


def test_frames_of_a_template_of_ones_own_name_their_control_tokens(tmp_path: Path) -> None:
    template = "{% for m in messages %}<unk>{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
    facts = with_template(
        tmp_path / "own", template + "{% if add_generation_prompt %}<unk>assistant: {{ '' }}{% endif %}"
    )
    assert isinstance(facts.chat, Turns)
    assert facts.chat.frames["user"].before == "<unk>user: " and facts.chat.reply == "<unk>assistant: "
    ids = {token["content"]: token["id"] for token in read(PHI3 / "tokenizer.json")["added_tokens"]}
    assert facts.tokenizer.special["<unk>"] == ids["<unk>"]
    assert "<unk>" not in vlm("phi3_v", PHI3).tokenizer.special


@pytest.mark.parametrize("changed", ["m.content | trim", "m.content | upper", "m.content | e", "m.content.lstrip()"])
def test_a_template_that_changes_texts_takes_jinja(tmp_path: Path, changed: str) -> None:
    """A runtime that only puts frames around texts would give other ids."""
    facts = with_template(tmp_path / "own", "{% for m in messages %}<|user|>{{ " + changed + " }}<|end|>{% endfor %}")
    assert facts.chat == JinjaTemplate()
