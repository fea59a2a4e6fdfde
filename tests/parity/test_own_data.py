"""A user's own examples and tolerances: what they gate, and what is refused before any work begins."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nexus_edge.assets.heldout import held_out_questions
from nexus_edge.assets.heldout_crops import held_out_images
from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.errors import InputError
from nexus_edge.parity import ladder
from nexus_edge.parity.ladder import prepare
from nexus_edge.parity.own_tolerances import with_own
from nexus_edge.parity.rungs.own_data import add_examples, in_words, read
from nexus_edge.parity.sources import parameter_bytes, weight_bytes
from nexus_edge.parity.vlm.own_data import normal

pytestmark = pytest.mark.slow

MEND = "mend its names, or leave it out"
ENTRY = """
[[gate]]
rung = "eval"
stage = "own *"
metric = "{metric}"
limit = {limit}
reason = "ours"
"""


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n", "utf-8")
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    asked = held_out_questions()[:6]
    lines = [
        {"image": str(one.image), "question": one.question, "answers": [one.answer.upper() + "."]} for one in asked
    ]
    return write(tmp_path / "questions.jsonl", lines)


def judge(bundle: Bundle, checkpoint: Checkpoint, path: Path, *, answers: bool, own: Path | None = None) -> Any:
    run = prepare(bundle, checkpoint)
    add_examples(run, read(path, answers=answers))
    if own is not None:
        run.tolerances, run.own_tolerances = with_own(own, bundle.manifest.model_type), str(own)
    return ladder.run(run, ())


def test_questions_of_ones_own(healthy: Bundle, checkpoint: Checkpoint, questions: Path) -> None:
    report = judge(healthy, checkpoint, questions, answers=True)
    (check,) = report.rungs[0].checks
    assert check.measures["items"] == 6
    assert check.measures["exact_match_reference"] >= 5 / 6, "the embedded checkpoint was trained to answer these"
    assert check.gate is not None and check.gate.metric == "exact_match_drop"
    (note,) = report.rungs[0].notes
    assert note.startswith("onnx: ") and "Wilson" in note


def test_full_precision_that_does_not_fit_is_refused_before_any_rung(
    healthy: Bundle, healthy_dual: Bundle, checkpoint: Checkpoint, biomedclip_checkpoint: Checkpoint, questions: Path
) -> None:
    for bundle, source in ((healthy, checkpoint), (healthy_dual, biomedclip_checkpoint)):
        needed = parameter_bytes(source) + 2 * weight_bytes(bundle)
        add_examples(prepare(bundle, source, max_memory=needed), read(questions, answers=True))
        with pytest.raises(InputError, match=r"^--eval: full precision .* takes 0\.0 GB, .*--max-memory$"):
            add_examples(prepare(bundle, source, max_memory=needed - 1), read(questions, answers=True))


def test_answers_that_the_user_calls_wrong(
    healthy: Bundle, checkpoint: Checkpoint, questions: Path, tmp_path: Path
) -> None:
    """What all rungs would read wrongly together shows in the number itself, which an own tolerance can gate."""
    lines = [json.loads(line) | {"answers": ["a zebra"]} for line in questions.read_text("utf-8").splitlines()]
    wrong = write(tmp_path / "wrong.jsonl", lines)
    report = judge(healthy, checkpoint, wrong, answers=True)
    assert report.rungs[0].checks[0].measures["exact_match_reference"] == 0
    own = tmp_path / "own.toml"
    own.write_text(ENTRY.format(metric="exact_match", limit=0.8), "utf-8")
    report = judge(healthy, checkpoint, wrong, answers=True, own=own)
    assert report.verdict == "rejected"
    assert report.tolerances == str(own) and report.summary["tolerances"] == str(own)


def test_labels_of_ones_own(healthy_dual: Bundle, biomedclip_checkpoint: Checkpoint, tmp_path: Path) -> None:
    cells = held_out_images().cells
    chosen = [cell for label in held_out_images().labels for cell in [c for c in cells if c.label == label][:3]]
    path = write(tmp_path / "cells.jsonl", [{"image": str(cell.path), "label": cell.label} for cell in chosen])
    report = judge(healthy_dual, biomedclip_checkpoint, path, answers=False)
    (check,) = report.rungs[0].checks
    assert check.measures["items"] == 9
    assert check.measures["accuracy_reference"] >= 8 / 9
    assert check.status == "passed"


def test_without_a_checkpoint_it_is_not_run(healthy: Bundle, checkpoint: Checkpoint, questions: Path) -> None:
    given = read(questions, answers=True)
    run = replace(prepare(healthy, checkpoint), checkpoint="no checkpoint: it is gone", examples=given)
    report = ladder.run(run, ())
    assert report.missing == ("eval was not run: no checkpoint: it is gone",)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is not valid JSON"),
        ('{"image": "nowhere.png", "question": "q", "answers": ["a"]}', "nowhere.png is not there"),
        ('{"image": "text.png", "question": "q", "answers": ["a"]}', "text.png"),
        ('{"question": "q"}', "has no answers"),
        ('{"image": "' + "x" * 5000 + '", "question": "q", "answers": ["a"]}', "cannot be read"),
        ('{"question": "q", "answers": ["a"], "answers": ["b"]}', "the key 'answers' appears twice"),
        ('{"image": "text.png", "qestion": "q", "answers": ["a"]}', "qestion"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "text.png").write_text("no image", "utf-8")
    path = tmp_path / "mine.jsonl"
    path.write_text("\n" + line + "\n", "utf-8")
    with pytest.raises(InputError) as caught:
        read(path, answers=True)
    assert problem in str(caught.value) and "mine.jsonl" in str(caught.value) and "2" in str(caught.value)


def test_one_label_is_no_choice(tmp_path: Path) -> None:
    image = str(held_out_images().cells[0].path)
    path = write(tmp_path / "one.jsonl", [{"image": image, "label": "cell"}] * 2)
    with pytest.raises(InputError, match="only one label"):
        read(path, answers=False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("gate = 1", "mine.toml"),
        ("[[gate]", "is not valid TOML"),
        ("", r"no \[\[gate\]\]"),
        (ENTRY.format(metric="exact_mach", limit=1), "exact_mach"),
        (ENTRY.format(metric="exact_match", limit=-1), "limit is -1"),
        (ENTRY.format(metric="exact_match", limit=1).replace("eval", "verify"), "rung = 'verify' matches none"),
    ],
)
def test_wrong_tolerances_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=problem):
        with_own(path, "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("own *", "own qestions"), True),
        (('"own *"', '"own *"\nscheme = "float16"'), True),
        (('"own *"', '"own *"\nprecision = "f33"'), True),
        (('"eval"', '"P4"'), False),  # which was not asked for
        (('"eval"', '"*"'), False),
    ],
)
def test_an_entry_that_decides_nothing_is_not_green(
    healthy: Bundle, checkpoint: Checkpoint, questions: Path, tmp_path: Path, change: tuple[str, str], said: bool
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(ENTRY.format(metric="exact_match_drop", limit=0.9).replace(*change), "utf-8")
    report = judge(healthy, checkpoint, questions, answers=True, own=own)
    assert report.verdict == ("incomplete" if said else "passed")
    assert report.missing == ((f"{own}, gate 1 matched nothing that was judged; {MEND}",) if said else ())


def test_later_entries_win(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(ENTRY.format(metric="exact_match_drop", limit=0.5), "utf-8")
    own = with_own(path, "")
    gate = own.gate("eval", "own questions", "onnx", "int4", "real")
    assert gate is not None and (gate.limit, gate.reason) == (0.5, "ours")
    assert own.gate("P0", "files", "onnx", "int4", "real") is not None, "the others are as they were"


def test_intervals_are_in_the_sentence() -> None:
    """Wilson's of 8 of 10 is 49.0 to 94.3 %: R. G. Newcombe, Statistics in Medicine 17 (1998), method 3."""
    text = in_words("onnx", [True] * 8 + [False] * 2, [True] * 9 + [False])
    assert "8 of 10 (49.0% to 94.3%)" in text and "1 lost, 0 won" in text


def test_what_counts_as_the_same_answer() -> None:
    assert normal(" A  Fracture.\n") == normal("a fracture")
    assert normal("a fracture!") != normal("a fracture")


def test_examples_that_full_precision_cannot_answer_are_told() -> None:
    told = in_words("onnx", [False, False], [False, False])
    assert "none right, so there was nothing to lose" in told
    assert "nothing to lose" not in in_words("onnx", [False, False], [True, False])
