"""Counting of right answers on the held-out set."""

from pathlib import Path

from PIL import Image

from nexus_edge.assets import HeldOutQuestion, exact_match, held_out_questions


def test_the_set_names_images_that_open_and_questions_with_answers() -> None:
    questions = held_out_questions()
    assert len(questions) >= 200
    for item in questions:
        assert item.question and item.answer == item.answer.strip() != ""
    for path in {item.image for item in questions}:
        with Image.open(path) as image:
            assert image.mode == "RGB"
    assert held_out_questions(7) == questions[:7]


def test_only_the_whole_answer_counts() -> None:
    asked = [
        HeldOutQuestion(Path("a.png"), "color", "What color?", "red"),
        HeldOutQuestion(Path("a.png"), "place", "What is there?", "red circle"),
        HeldOutQuestion(Path("b.png"), "place", "What is there?", "nothing"),
    ]
    said = {
        ("a.png", "What color?"): " red\n",
        ("a.png", "What is there?"): "red",
        ("b.png", "What is there?"): "nothing",
    }
    result = exact_match(lambda image, question: said[image.name, question], asked)
    assert (result.right, result.asked) == (2, 3)
    assert result.per_kind == {"color": (1, 1), "place": (1, 2)}
    assert exact_match(lambda image, question: "", []).share == 0.0
