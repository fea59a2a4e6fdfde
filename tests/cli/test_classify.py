"""`nexus-edge classify` on the toy: labels, files, banks, bundles, and what is bad about them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toy_dual

from nexus_edge.runtimes import load_dual_encoder

Run = Callable[..., Any]
LABELS = "red, green,blue"


def test_each_image_gets_a_line_with_its_likeliest_labels(run_command: Run, desk: Path) -> None:
    result = run_command("classify", "images", "--labels", LABELS, "--top-k", 2)
    assert result.exit_code == 0, result.stderr
    model = load_dual_encoder(desk / "out" / "toy-dual")
    lines = []
    for path in ("images/green.png", "images/red.png", "images/sub/blue.jpg"):
        (best, share), (second, rest) = model.classify(desk / path, ["red", "green", "blue"]).top(2)
        assert best in path
        lines.append(f"{path}: {best} {share:.1%}, {second} {rest:.1%}")
    assert result.stdout.splitlines() == lines
    assert "using out/toy-dual (the only one below out/; --bundle names another)" in result.stderr
    assert "the weights are synthetic" in result.stderr
    assert "3 images: 1 green, 1 red, 1 blue" in result.stderr


def test_quiet_leaves_only_the_lines(run_command: Run, desk: Path) -> None:
    result = run_command("classify", "images/red.png", "--labels", LABELS, "--quiet")
    assert result.stdout.startswith("images/red.png: red 9")
    assert result.stderr == ""


def test_as_json(run_command: Run, desk: Path) -> None:
    result = run_command("classify", "images", "--labels", LABELS, "--template", "{} cell", "--json", "--top-k", 9)
    assert result.stderr == ""
    said = json.loads(result.stdout)
    assert (said["model"], said["weights"], said["labels"]) == ("toy-dual", "synthetic", 3)
    assert said["templates"] == ["{} cell"]
    assert [one["path"] for one in said["pictures"]] == [
        "images/green.png", "images/red.png", "images/sub/blue.jpg"
    ]  # fmt: skip
    for one in said["pictures"]:
        assert one["labels"][0]["label"] in one["path"]
        assert sum(label["probability"] for label in one["labels"]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("named", [("out/toy-dual", "images"), ("images", "--bundle", "out/toy-dual")])
def test_a_bundle_is_named_first_or_with_the_option(named: tuple[str, ...], run_command: Run, desk: Path) -> None:
    result = run_command("classify", *named, "--labels", LABELS)
    assert len(result.stdout.splitlines()) == 3
    assert "using" not in result.stderr


def test_labels_from_a_file_and_templates_that_add_up(run_command: Run, desk: Path) -> None:
    (desk / "labels.txt").write_text("red\n\ngreen\nblue, a cell\n")
    options = ("--template", "a photo of {}", "--template", "{} cell")
    result = run_command("classify", "images/red.png", "--labels-file", "labels.txt", *options, "--json")
    expected = load_dual_encoder(desk / "out" / "toy-dual").classify(
        desk / "images" / "red.png", ["red", "green", "blue, a cell"], ["a photo of {}", "{} cell"]
    )
    found = [(one["label"], one["probability"]) for one in json.loads(result.stdout)["pictures"][0]["labels"]]
    assert found == expected.top()


def test_a_built_in_bank(run_command: Run, desk: Path) -> None:
    result = run_command("classify", "images/red.png", "--bank", "pcam", "--json")
    said = json.loads(result.stdout)
    assert {one["label"] for one in said["pictures"][0]["labels"]} == {"normal lymph node", "lymph node metastasis"}
    assert said["templates"] == ["this is an image of {}", "{} presented in image"]


def test_a_bank_file_finds_the_bundle_that_made_it(run_command: Run, desk: Path) -> None:
    assert run_command("bank", "--labels", LABELS, "-o", "my.bank").exit_code == 0
    toy_dual.write_bundle(desk / "out" / "newer", tint=2.0)
    result = run_command("classify", "images", "--bank", "my.bank")
    assert [line.split(": ")[1].split()[0] for line in result.stdout.splitlines()] == ["green", "red", "blue"]
    assert "using out/toy-dual (the only one that fits below out/" in result.stderr


def test_a_bank_of_another_text_tower_is_refused(run_command: Run, desk: Path) -> None:
    run_command("bank", "--labels", LABELS, "-o", "my.bank")
    toy_dual.write_bundle(desk / "other", tint=2.0)
    result = run_command("classify", "images", "--bank", "my.bank", "--bundle", "other", "--quiet")
    result.assert_error(2, "another text tower (of toy-dual) than that of other", "nexus-edge bank")


def test_a_bundle_without_text_tower_uses_its_own_bank(run_command: Run, desk: Path) -> None:
    run_command("bank", "--labels", LABELS, "--ship", "device")
    result = run_command("classify", "device", "images", "--quiet")
    assert [line.split(": ")[1].split()[0] for line in result.stdout.splitlines()] == ["green", "red", "blue"]
    again = run_command("classify", "device", "images", "--labels", "red,cell", "--quiet")
    again.assert_error(2, "device: was shipped without its text tower, so it cannot embed text")


def test_unreadable_images_are_skipped_counted_listed_and_end_with_2(run_command: Run, desk: Path) -> None:
    (desk / "images" / "letter.png").write_bytes(b"a letter")
    (desk / "images" / "sub" / "cut.jpg").write_bytes((desk / "images/sub/blue.jpg").read_bytes()[:100])
    result = run_command("classify", "images", "--labels", LABELS)
    result.assert_ended(2, "2 of 5 images cannot be read; the first: images/letter.png")
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == [
        "images/green.png", "images/red.png", "images/sub/blue.jpg"
    ]  # fmt: skip
    assert "skipped: images/letter.png" in result.stderr and "skipped: images/sub/cut.jpg" in result.stderr
    said = run_command("classify", "images", "--labels", LABELS, "--json")
    assert said.exit_code == 2
    assert [one["path"] for one in json.loads(said.stdout)["skipped"]] == [
        "images/letter.png",
        "images/sub/cut.jpg",
    ]
    run_command("classify", "images/letter.png", "--labels", LABELS, "--quiet").assert_error(
        2, "1 of 1 image cannot be read; images/letter.png"
    )


def test_a_label_of_5000_words_is_cut_and_that_is_said_even_when_quiet(run_command: Run, desk: Path) -> None:
    (desk / "labels.txt").write_text("red " * 5000 + "\nblue\n")
    for flag in ("--quiet", "--json"):
        result = run_command("classify", "images/red.png", "--labels-file", "labels.txt", flag, "--template", "{}")
        assert result.exit_code == 0
        assert result.stderr.startswith("warning: a text was cut to the 12 tokens that the model reads")
        assert "its last 4,990 tokens were dropped" in result.stderr
        assert result.stderr.count("\n") == 1


def test_ten_thousand_labels(run_command: Run, desk: Path) -> None:
    (desk / "labels.txt").write_text("\n".join(f"cell {number}" for number in range(9_999)) + "\nred\n")
    result = run_command("classify", "images/red.png", "--labels-file", "labels.txt", "--json")
    said = json.loads(result.stdout)
    assert said["labels"] == 10_000
    assert said["pictures"][0]["labels"][0]["label"] == "red"
    assert len(said["pictures"][0]["labels"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--labels", ""), "no labels"),
        (("--labels", "red,,blue"), "a label is empty"),
        (("--labels", "red,blue,red"), "'red' appears twice"),
        (("--labels", "red", "--template", "a photo"), "must contain"),
        (("--labels", "red", "--bank", "pcam"), "give labels once"),
        (("--labels-file", "absent.txt"), "absent.txt: cannot be read"),
        (("--labels-file", "empty.txt"), "no labels"),
        (("--bank", "pcm"), "did you mean 'pcam'"),
        (("--bank", "pcam", "--template", "{}"), "has its own templates"),
        (("--bank", "empty.txt"), "empty.txt"),
        (("--template", "{}"), "--template needs labels"),
        ((), "no labels: give --labels, --labels-file, or --bank with a file or one of blood-cells"),
        (("--labels", "red", "--top-k", 0), "top-k is 0"),
        (("--labels", "red", "--batch-size", 0), "batch size is 0"),
        (("--labels", "red", "--bundle", "images"), "images: is not a bundle"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[object, ...], message: str, run_command: Run, desk: Path
) -> None:
    (desk / "empty.txt").touch()
    run_command("classify", "images", "--quiet", *arguments).assert_error(2, message)


def test_no_images(run_command: Run, desk: Path) -> None:
    (desk / "none").mkdir()
    run_command("classify", "none", "--labels", "red").assert_error(2, "none: no images there")
    run_command("classify", "absent.png", "--labels", "red").assert_error(2, "absent.png: no such file or folder")
    run_command("classify", "out/toy-dual", "--labels", "red").assert_error(2, "nothing: no images there")


def test_no_bundle(run_command: Run, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk / "images")
    result = run_command("classify", "red.png", "--labels", "red")
    result.assert_error(2, "no bundle of a dual encoder below out/", "nexus-edge export biomedclip")


def test_a_vlm_is_no_dual_encoder_and_the_reverse(run_command: Run, desk: Path, toy_path: Path) -> None:
    result = run_command("classify", toy_path, "images", "--labels", "red")
    result.assert_error(2, "it embeds nothing; use nexus-edge run or chat")
    for command in ("run", "chat"):
        options = ("-p", "Hi") if command == "run" else ()
        result = run_command(command, "out/toy-dual", *options, "--quiet")
        result.assert_error(2, "it does not answer; use nexus-edge classify, embed or search")


def test_a_tower_that_computes_nan(run_command: Run, desk: Path) -> None:
    toy_dual.write_bundle(desk / "nan", nan=True)
    result = run_command("classify", "nan", "images", "--labels", LABELS, "--quiet")
    result.assert_error(2, "image_encoder.onnx: produced NaN")


def test_a_name_that_would_move_the_cursor_is_escaped(run_command: Run, desk: Path) -> None:
    (desk / "red\x1b[2J\n.png").write_bytes((desk / "images/red.png").read_bytes())
    result = run_command("classify", desk / "red\x1b[2J\n.png", "--labels", LABELS, "--quiet")
    assert "red\\x1b[2J\\n.png: red" in result.stdout
    assert "\x1b" not in result.stdout and result.stdout.count("\n") == 1


@pytest.mark.parametrize("command", ["classify", "embed", "search", "bank", "bench"])
@pytest.mark.parametrize("outside", ["../secret.onnx", "/etc/passwd"])
def test_a_manifest_that_points_outside(command: str, outside: str, run_command: Run, desk: Path) -> None:
    run_command("embed", "images", "-o", "index.safetensors", "--quiet")
    (desk / "out" / "secret.onnx").write_bytes((desk / "out/toy-dual/onnx/image_encoder.onnx").read_bytes())
    manifest = desk / "out" / "toy-dual" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("onnx/image_encoder.onnx", outside))
    arguments = {
        "classify": ("images", "--labels", "red"),
        "embed": ("images", "-o", "other.safetensors"),
        "search": ("red", "--index", "index.safetensors"),
        "bank": ("pcam", "-o", "my.bank"),
        "bench": (),
    }[command]
    run_command(command, "out/toy-dual", *arguments, "--quiet").assert_error(2, "out/toy-dual")


def test_a_bundle_whose_manifest_is_no_file_is_named(run_command: Run, desk: Path) -> None:
    (desk / "broken" / "manifest.json").mkdir(parents=True)
    result = run_command("classify", "broken", "images/red.png", "--labels", "red,blue")
    result.assert_error(2, "broken: is not a bundle (manifest.json")
