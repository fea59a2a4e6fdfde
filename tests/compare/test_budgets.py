"""Budgets and examples: what is accepted, and what each wrong entry is told."""

from pathlib import Path

import pytest
from PIL import Image

from nexus_edge.compare.budgets import BUDGETS, require_measured
from nexus_edge.errors import InputError, RecipeError
from nexus_edge.eval_file import Kind, read_examples
from nexus_edge.recipe import find_recipe, read_gates, read_recipe

RECIPE = """
extends = "phi3-vision/int4.toml"
name = "mine"
[gates]
size_ratio = 1.01
answers_changed = 0.02
"""


def test_a_recipes_gates_reach_the_manifest(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE)
    own = {"size_ratio": 1.01, "answers_changed": 0.02}
    assert read_recipe(path).to_json()["gates"] == {**find_recipe("phi3-vision", "int4").gates, **own}
    assert read_gates(path) == {**find_recipe("phi3-vision", "int4").gates, **own}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("size_ration = 1", "did you mean 'size_ratio'"),
        ("size_ratio = true", "must be a number"),
        (f"size_gb = {'9' * 400}", "must be 0 or more"),
        ("size_ratio = nan", "must be 0 or more"),
        ("size_ratio = inf", "must be 0 or more"),
        ("cosine = 1.2", "must be 0 to 1"),
        ("answers_changed = -0.1", "must be 0 to 1"),
        ("answers_changed = 5", "must be 0 to 1"),
    ],
)
def test_wrong_gates_are_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(f"[gates]\n{line}\n")
    with pytest.raises(RecipeError, match=words):
        read_gates(path)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'extends = "phi3-vision/int4.toml"\n[gates]\n{line}\n')
    with pytest.raises(RecipeError, match=words):
        read_recipe(recipe)


def test_a_file_without_gates_is_no_gate(tmp_path: Path) -> None:
    path = tmp_path / "gates.toml"
    for text, words in (("", r"has no \[gates\]"), ("size_ratio = 1\n", r"'size_ratio'; write \[gates\] above it")):
        path.write_text(text)
        with pytest.raises(RecipeError, match=words):
            read_gates(path)


def test_timings_are_judged_within_one_run_only() -> None:
    timed = {name for name, budget in BUDGETS.items() if "speed" in budget.label or "time" in budget.label}
    assert timed == {
        "load_time_ratio", "tokens_per_s_ratio", "prefill_ratio", "images_per_s_ratio", "texts_per_s_ratio"
    }  # fmt: skip
    assert all(BUDGETS[name].same_run and BUDGETS[name].unit == "x" for name in timed)


def test_examples_of_both_kinds(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    path = tmp_path / "e.jsonl"
    path.write_text(
        '\ufeff{"image": "a.png", "question": "What?", "answers": ["a", " b "]}\n\n{"question": "Why?"}\n', "utf-8"
    )
    one, second = read_examples(path, "question")
    assert (one.name, one.images, one.answers) == ("line 1", (tmp_path / "a.png",), ("a", "b"))
    assert (second.name, second.images, second.answers) == ("line 3", (), ())
    path.write_text('{"image": "a.png", "label": "x", "id": "one"}\n')
    assert read_examples(path, "label")[0].label == "x"


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", "question", "has no examples"),
        ("{", "question", r"e\.jsonl:1: is not valid JSON"),
        ('{"question": "a"}\n[]', "question", r"e\.jsonl:2: must be a table"),
        ('{"qestion": "a"}', "question", "did you mean 'question'"),
        ('{"question": " "}', "question", "question is empty"),
        ('{"question": "a", "answers": ""}', "question", "an answer is empty"),
        ('{"question": "a", "answers": ["b", " "]}', "question", "an answer is empty"),
        ('{"question": "a", "image": "gone.png"}', "question", r"the image .*gone\.png is not there"),
        ('{"question": "a", "image": "e.jsonl"}', "question", r"e\.jsonl:1: .*it is not an image"),
        ('{"question": "a", "image": 3}', "question", "image must be a string or a list of strings"),
        ('{"question": "a", "answers": [3]}', "question", "must be a list of strings"),
        ('{"question": "a", "id": "x"}\n{"question": "b", "id": "x"}', "question", "the id 'x' appears twice"),
        ('{"image": "e.jsonl", "label": ""}', "label", "label that is not empty"),
        ('{"image": ["e.jsonl", "e.jsonl"], "label": "x"}', "label", "needs one image"),
        ('{"question": "a"}', "label", "unknown key 'question'"),
    ],
)
def test_wrong_examples_are_refused_by_file_and_line(tmp_path: Path, text: str, kind: str, words: str) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_examples(path, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cosine = 0.99\n[gates]\nsize_ratio = 1\n", r"unknown key 'cosine'; write \[gates\] above it"),
        ("[gates]\nsize_ratio = 1\n[gate]\ncosine = 0.99\n", "unknown key 'gate'; did you mean 'gates'"),
        ("[gates]\nsize_ratio = 1\n[notes]\nby = 1\n", "unknown key 'notes'"),
    ],
)
def test_a_gate_outside_of_gates_is_not_ignored(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=words):
        read_gates(path)


def test_what_nothing_measures_is_refused_by_name() -> None:
    for kind in ("vlm", "dual_encoder"):
        require_measured({"size_ratio": 1.0, "images_per_s_ratio": 0.9, "cosine": 0.9}, kind, "g.toml: gates")
    with pytest.raises(RecipeError, match=r"g\.toml: gates: tokens_per_s_ratio: decode speed is measured of"):
        require_measured({"tokens_per_s_ratio": 0.9}, "dual_encoder", "g.toml: gates")
    with pytest.raises(RecipeError, match="texts_per_s_ratio: text speed is measured of models that embed only"):
        require_measured({"texts_per_s_ratio": 0.9}, "vlm", "g.toml: gates")


@pytest.mark.parametrize("image", ["https://example.org/a.png", "HTTP://a.org/a.png", "data:image/png;base64,AA=="])
@pytest.mark.parametrize("kind", ["question", "label"])
def test_an_image_that_is_no_path(tmp_path: Path, image: str, kind: Kind) -> None:
    path = tmp_path / "own.jsonl"
    rest = '"question": "what?"' if kind == "question" else '"label": "x"'
    path.write_text(f'{{"image": "{image}", {rest}}}\n')
    what = "a data URI; save it" if image.startswith("data") else "a URL, and images are not fetched from anywhere"
    with pytest.raises(InputError, match=rf"own\.jsonl:1: the image .*is {what}"):
        read_examples(path, kind)
