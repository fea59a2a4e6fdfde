"""Labels in templates: the built-in banks as the paper prints them, and files of your own."""

import re
from pathlib import Path

import numpy as np
import pytest

from nexus_edge.assets import held_out_images
from nexus_edge.errors import InputError
from nexus_edge.runtimes.dual_encoder.prompts import (
    DEFAULT_TEMPLATES,
    PromptSet,
    built_in_sets,
    find_prompts,
    of_labels,
    read_labels,
)

TIL = "tumor infiltrating lymphocytes"
# BiomedCLIP (arXiv 2303.00915), supplementary: dataset -> classes, templates.
PAPER = {
    "pcam": (
        {"normal lymph node", "lymph node metastasis"},
        {"this is an image of {}", "{} presented in image"},
    ),
    "lc25000-lung": (
        {"lung adenocarcinomas", "normal lung tissue", "lung squamous cell carcinomas"},
        {"this is an image of {}", "{} presented in image"},
    ),
    "lc25000-colon": (
        {"colon adenocarcinomas", "normal colonic tissue"},
        {"a photo of {}", "{} presented in image"},
    ),
    "tcga-til": ({"none", TIL}, {"a photo of {}", "{} presented in image"}),
    "rsna": ({"normal lung", "pneumonia"}, {"a photo of {}", "{} presented in image"}),
}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_prompts_are_built_in(name: str) -> None:
    found = find_prompts(name)
    assert (set(found.labels), set(found.templates)) == PAPER[name]
    assert "2303.00915" in found.source


def test_every_built_in_set_loads_and_says_where_it_comes_from() -> None:
    assert {*PAPER, "blood-cells"} == set(built_in_sets())
    for name in built_in_sets():
        found = find_prompts(name)
        assert found.title and found.source


def test_prompts_run_through_the_labels_of_one_template_after_the_other() -> None:
    prompts = PromptSet(("a", "b"), ("{}!", "this {}")).prompts
    assert prompts == ["a!", "b!", "this a", "this b"]


def test_braces_in_a_label_or_a_template_are_no_places() -> None:
    assert PromptSet(("{0}", "{}"), ("{x} {} %s",)).prompts == ["{x} {0} %s", "{x} {} %s"]


def test_the_ensemble_weighs_templates_alike_whatever_their_length() -> None:
    embeddings = np.array([[3, 0], [0, 1], [0, 50], [0, 2]], np.float32)  # two labels in two templates
    diagonal = np.sqrt(0.5)
    found = PromptSet(("a", "b"), ("{}", "{}!")).ensemble(embeddings)
    assert np.allclose(found, [[diagonal, diagonal], [0, 1]], atol=1e-6)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "t"\nsource = "s"\nlabels = ["cat, sleeping", "dog"]\ntemplates = ["a {}"]\n')
    assert find_prompts(str(path)) == PromptSet(("cat, sleeping", "dog"), ("a {}",), "t", "s")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("labels = [", "is not valid TOML"),
        (b"\xff", "is not valid TOML"),
        ('title = "t"\nsource = "s"\ntemplates = ["{}"]', "labels is missing"),
        ('title = "t"\nsource = "s"\nlabels = []\ntemplates = ["{}"]', "no labels"),
        ('title = "t"\nsource = "s"\nlabels = [1]\ntemplates = ["{}"]', "must be a list of strings"),
        ('title = "t"\nsource = "s"\nlabels = ["a"]\ntemplate = ["{}"]', "did you mean 'templates'"),
    ],
)
def test_a_file_that_is_no_set_is_named(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as raised:
        find_prompts(str(path))
    assert str(raised.value).count(str(path)) == 1


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=re.escape("no such file, and no built-in bank; did you mean 'pcam'?")):
        find_prompts("pcm")
    with pytest.raises(InputError, match=r"absent.toml: cannot be read"):
        find_prompts("absent.toml")


def test_labels_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("red cell\n\n  white, large \r\n", encoding="utf-8")
    assert read_labels(path) == ("red cell", "white, large")
    path.write_bytes("red cell\n".encode("utf-16"))
    assert read_labels(path) == ("red cell",)
    path.write_bytes(b"\xff\xff")
    for bad, problem in ((path, "is not UTF-8 text at byte 0"), (tmp_path / "absent", "cannot be read")):
        with pytest.raises(InputError, match=problem):
            read_labels(bad)


def test_a_line_of_labels_ends_as_in_any_text_file(tmp_path: Path) -> None:
    inside = "\u2028\u2029\x0b\x0c\x1c\x1d\x1e\x85"  # what str.splitlines splits at, too
    path = tmp_path / "labels.txt"
    path.write_bytes("\r\n".join(f"red{end}cell" for end in inside).encode())
    assert read_labels(path) == tuple(f"red{end}cell" for end in inside)
    path.write_bytes("\ufeffred\n\ufeff blue\n\ufeff\n\u200b\n \u200d\u2060\t\ngreen".encode())
    assert read_labels(path) == ("red", "blue", "green")
    path.write_bytes("\u200b\n".encode())
    assert read_labels(path) == ()


@pytest.mark.parametrize("label", ["", " ", "\u200b", "\ufeff", "\u200c \u200d", "\u2060\u00ad", "\0"])
def test_a_label_that_nobody_sees_is_empty(label: str) -> None:
    with pytest.raises(InputError, match="a label is empty"):
        of_labels(["red", label])
    assert of_labels([f"red{label}"]).labels == (f"red{label}",)


def test_without_templates_that_of_the_model_card_is_taken() -> None:
    assert of_labels(["a"]).templates == DEFAULT_TEMPLATES == ("this is a photo of {}",)
    assert of_labels(["a"], ["x {}"]).templates == ("x {}",)


def test_the_blood_cell_bank_asks_what_the_embedded_checkpoints_accuracy_is_measured_with() -> None:
    measured = held_out_images()
    bank = find_prompts("blood-cells")
    assert (bank.labels, bank.templates) == (measured.labels, measured.templates)
