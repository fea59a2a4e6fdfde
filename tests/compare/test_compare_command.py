"""`nexus-edge compare` on toy bundles, with the processes that it starts."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree

import pytest
import toy_dual

from nexus_edge.bundle import Bundle
from nexus_edge.ci.formats import FORMATS
from nexus_edge.cli import app
from nexus_edge.recipe import find_recipe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str, str]]
FAST = ("--runs", "1", "--prompt-tokens", "16", "--new-tokens", "2", "--quiet")


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """(arguments) -> exit code, stdout, stderr"""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["nexus-edge", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            app.main()
            raise SystemExit(0)
        return int(exit_.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "How many ships?", "answers": ["three"]}\n{"question": "Where?"}\n')
    return path


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    toy_dual.write_images(tmp_path, "red.png", "green.png", "blue.png")
    path = tmp_path / "colours.jsonl"
    path.write_text("".join(f'{{"image": "{name}.png", "label": "{name}"}}\n' for name in ("red", "green", "blue")))
    return path


def gates(folder: Path, **limits: float) -> Path:
    path = folder / "gates.toml"
    path.write_text("[gates]\n" + "".join(f"{name} = {limit}\n" for name, limit in limits.items()))
    return path


def test_a_bundle_is_within_budgets_of_itself_without_torch_and_onnx(
    compare: Run, toy_path: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "onnx"):
        (tmp_path / "stubs" / name).mkdir(parents=True)
        (tmp_path / "stubs" / name / "__init__.py").write_text(f"raise ImportError('{name} is not here')\n")
    path = [str(tmp_path / "stubs"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    limits = gates(tmp_path, size_ratio=1.0, answers_changed=0.0, cosine=1.0)
    code, out, err = compare(toy_path, toy_path, "--eval", questions, "--gates", limits, "--json", *FAST)
    assert code == 0, err
    found = json.loads(out)
    assert found["verdict"] == "passed"
    assert any(note.startswith("Decode speed is of 1 tokens a round") for note in found["notes"])
    assert found["measures"]["cosine"] == 1.0
    assert found["measures"]["answers_changed"] == 0.0
    assert found["new"]["peak_bytes"] > 10_000_000
    assert [reply["right"] for reply in found["new"]["replies"]] == [False, None]


def test_beyond_a_budget_is_exit_code_3_and_against_a_file_too(
    compare: Run, dual_bundle: Bundle, colours: Path, tmp_path: Path
) -> None:
    other = toy_dual.write_bundle(tmp_path / "tinted", tint=9.0)
    limits = gates(tmp_path, cosine=0.999, answers_changed=0.0)
    base = tmp_path / "base.json"
    common = ("--eval", colours, "--gates", limits, *FAST)
    code, out, err = compare(dual_bundle.root, other.root, *common, "--save-baseline", base, "--format", "github")
    assert code == 3
    assert "beyond" in out
    assert "::error file=" in out
    assert "smallest cosine" in err
    assert err.count("\n") == 1
    code, out, err = compare(dual_bundle.root, "--baseline", base, *common)
    assert code == 3, "the baseline is the tinted one now"
    code, out, err = compare(other.root, "--baseline", base, *common)
    assert code == 0, err


def test_the_budgets_of_a_shipped_recipe_judge(compare: Run, toy_path: Path, questions: Path, tmp_path: Path) -> None:
    root = shutil.copytree(toy_path, tmp_path / "new")
    manifest = json.loads((root / "manifest.json").read_text("utf-8"))
    manifest["recipe"] = find_recipe("phi3-vision", "int4").to_json()
    (root / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    base = tmp_path / "base.json"
    common = ("--eval", questions, *FAST)
    compare(root, root, *common, "--save-baseline", base)  # one round of two tokens says nothing about speed
    assert compare(root, "--baseline", base, *common)[0] == 3, "speed cannot be judged against a file"
    assert compare(root, "--baseline", base, *common, "--allow-skip")[0] == 0
    saved = json.loads(base.read_text("utf-8"))
    saved["size_bytes"] //= 2
    base.write_text(json.dumps(saved), "utf-8")
    code, _, err = compare(root, "--baseline", base, *common, "--allow-skip")
    assert code == 3
    assert "size" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{vlm}",), "compare takes OLD and NEW"),
        (("{vlm}", "{vlm}", "--baseline", "x"), "NEW alone beside --baseline"),
        (("{vlm}", "{dual}"), "only bundles of one family"),
        (("{vlm}", "{vlm}"), "carries no goldens to compare with"),
        (("{vlm}", "--baseline", "nowhere.json"), "cannot be read"),
        (("{vlm}", "{vlm}", "--runs", "0"), "runs is 0"),
        (("{vlm}", "{vlm}", "--new-tokens", "100000000", "--eval", "{asked}"), "tokens exceed the model's context"),
        (("{vlm}", "{vlm}", "--prompt-tokens", "0", "--eval", "{asked}"), "prompt tokens: 0; it must be 1 or more"),
        (("{vlm}", "{vlm}", "--format", "xml"), "--format 'xml'"),
        (("{vlm}", "{vlm}", "--gates", "nowhere.toml"), "cannot be read"),
        (("{vlm}", "nowhere"), "is not a bundle"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    compare: Run, toy_path: Path, dual_bundle: Bundle, questions: Path, arguments: tuple[str, ...], words: str
) -> None:
    filled = [text.format(vlm=toy_path, dual=dual_bundle.root, asked=questions) for text in arguments]
    code, out, err = compare("--quiet", *filled)
    assert code == 2
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_a_rejected_bundle_is_refused(compare: Run, toy_bundle: Bundle, questions: Path, tmp_path: Path) -> None:
    root = shutil.copytree(toy_bundle.root, tmp_path / "rejected")
    Bundle.open(root).with_parity({"verdict": "rejected", "reason": "P3: decoder"})
    report = tmp_path / "junit"
    formats = [f"--format={name}={tmp_path / name}" for name in FORMATS]
    for _ in range(2):  # the second run knows what the first wrote as ours
        code, _, err = compare(toy_bundle.root, root, "--eval", questions, *formats, *FAST)
        assert code == 3, err
        assert "--allow-rejected" in err
    (case,) = Tree.parse(report).iter("testcase")  # what a CI reads is there also where nothing was measured
    assert "--allow-rejected" in str(case.find("failure").get("message"))


def test_a_baseline_of_other_questions_is_refused(
    compare: Run, toy_bundle: Bundle, questions: Path, tmp_path: Path
) -> None:
    from nexus_edge.compare import record

    kept = record.Record("toy", "x", "phi3_v", "synthetic", "int4", "onnx", "m", "another digest", 1, {})
    record.save(kept, tmp_path / "base.json")
    code, _, err = compare(toy_bundle.root, "--baseline", tmp_path / "base.json", "--eval", questions)
    assert code == 2
    assert "other questions" in err


def test_a_baseline_with_other_replies_is_refused_before_any_work(
    compare: Run, toy_path: Path, questions: Path, tmp_path: Path
) -> None:
    base, damaged = tmp_path / "base.json", tmp_path / "damaged.json"
    code, _, err = compare(toy_path, toy_path, "--eval", questions, "--save-baseline", base, *FAST)
    assert code == 0, err
    kept = json.loads(base.read_text())
    for replies in (kept["replies"][:1], kept["replies"][::-1]):
        damaged.write_text(json.dumps(kept | {"replies": replies}))
        code, _, err = compare(toy_path, "--baseline", damaged, "--eval", questions)
        assert code == 2
        assert "its replies are not those to questions.jsonl" in err


def test_a_folder_that_the_user_is_in_brings_no_modules(
    compare: Run, toy_path: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    for name in ("random", "numpy", "json", "nexus_edge"):
        (tmp_path / "here" / f"{name}.py").write_text("raise SystemExit('a file of the user was run')\n")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    code, _, err = compare(toy_path, toy_path, "--eval", questions, *FAST)
    assert code == 0, err


def test_examples_are_read_once_as_from_a_pipe(compare: Run, toy_path: Path, questions: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(questions.read_bytes(),), daemon=True)
    writer.start()
    code, _, err = compare(toy_path, toy_path, "--eval", pipe, *FAST)
    assert code == 0, err


def test_what_breaks_in_a_process_is_told_as_here(
    compare: Run, toy_bundle: Bundle, questions: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(toy_bundle.root, tmp_path / "broken")
    (root / "processor" / "tokenizer.json").write_text("{}")
    manifest: Any = Bundle.open(root, check=None).manifest
    files = {name: info for name, info in manifest.files.items() if name != "processor/tokenizer.json"}
    (root / "manifest.json").write_text(replace(manifest, files=files).to_json(), "utf-8")
    code, _, err = compare(toy_bundle.root, root, "--eval", questions, *FAST)
    assert code in (2, 4)
    assert "tokenizer.json" in err
    assert err.count("\n") == 1
