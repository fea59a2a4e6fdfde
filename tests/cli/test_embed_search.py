"""`nexus-edge embed` and `search` on the toy: from a folder to hits, and whatever can be wrong on the way."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_dual
from PIL import Image

from nexus_edge.runtimes import ImageIndex
from nexus_edge.runtimes.dual_encoder.index import image_index

pytestmark = pytest.mark.slow

Run = Callable[..., Any]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def index(run_command: Run, desk: Path) -> Path:
    assert run_command("embed", "images", "-o", "index.safetensors", "--quiet").exit_code == 0
    return desk / "index.safetensors"


def test_embed_works_as_the_issue_prints_it(run_command: Run, desk: Path) -> None:
    result = run_command("embed", "images/red.png", "images/sub", "-o", "index.safetensors")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "index.safetensors: 2 images (2 new or changed), 4 numbers each\n"
    assert "using out/toy-dual (the only one below out/; --bundle names another)" in result.stderr
    assert ImageIndex.load(desk / "index.safetensors").paths == ("images/red.png", "images/sub/blue.jpg")


def test_a_second_run_embeds_what_is_new(run_command: Run, desk: Path, index: Path) -> None:
    toy_dual.write_images(desk, "images/red.2.png")
    (desk / "images" / "green.png").unlink()
    said = json.loads(run_command("embed", "images", "-o", "index.safetensors", "--json").stdout)
    assert {key: said[key] for key in ("pictures", "embedded", "unchanged", "kept", "gone", "dim")} == {
        "pictures": 3, "embedded": 1, "unchanged": 2, "kept": 0, "gone": 1, "dim": 4
    }  # fmt: skip
    assert (said["index"], said["model"], said["weights"], said["skipped"]) == (
        "index.safetensors", "toy-dual", "synthetic", []
    )  # fmt: skip
    said = json.loads(run_command("embed", "images", "-o", "index.safetensors", "--force", "--json").stdout)
    assert (said["embedded"], said["unchanged"]) == (3, 0)


def test_half_precision(run_command: Run, desk: Path) -> None:
    run_command("embed", "images", "-o", "half.safetensors", "--float16")
    assert ImageIndex.load(desk / "half.safetensors").embeddings.dtype == np.float16
    assert run_command("search", "blue", "--index", "half.safetensors", "--top-k", 1).stdout.endswith("sub/blue.jpg\n")


def test_unreadable_images_are_skipped_counted_listed_and_end_with_2(run_command: Run, desk: Path) -> None:
    (desk / "images" / "letter.png").write_bytes(b"a letter")
    (desk / "images" / "empty.png").touch()
    result = run_command("embed", "images", "-o", "index.safetensors")
    result.assert_ended(
        2, "2 of 5 images cannot be read, the others are in index.safetensors; the first: images/empty.png"
    )
    assert result.stdout == "index.safetensors: 3 images (3 new or changed, 2 skipped), 4 numbers each\n"
    assert "skipped: images/letter.png" in result.stderr
    assert len(ImageIndex.load(desk / "index.safetensors")) == 3
    said = run_command("embed", "images", "-o", "index.safetensors", "--json")
    assert said.exit_code == 2
    assert [one["path"] for one in json.loads(said.stdout)["skipped"]] == ["images/empty.png", "images/letter.png"]


def test_nothing_readable_makes_no_index(run_command: Run, desk: Path) -> None:
    (desk / "letter.png").write_bytes(b"a letter")
    result = run_command("embed", "letter.png", "-o", "index.safetensors", "--quiet")
    result.assert_error(2, "none of 1 image can be read", "letter.png")
    assert not (desk / "index.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("images", "-o", "index.bin"), "index.bin: an index ends in .safetensors"),
        (("absent", "-o", "i.safetensors"), "absent: no such file or folder"),
        (("empty", "-o", "i.safetensors"), "empty: no images there"),
        (("images", "-o", "images/red.png/i.safetensors"), "cannot be written"),
        (("images", "-o", "broken.safetensors"), "it is damaged or not an index"),
        (("images", "-o", "i.safetensors", "--batch-size", "0"), "batch size is 0"),
    ],
)
def test_embed_refuses(arguments: tuple[str, ...], message: str, run_command: Run, desk: Path) -> None:
    (desk / "empty").mkdir()
    (desk / "broken.safetensors").write_bytes(b"PK not really")
    run_command("embed", *arguments, "--quiet").assert_error(2, message)
    assert (desk / "broken.safetensors").read_bytes() == b"PK not really"


def test_another_models_index_is_not_mixed(run_command: Run, desk: Path, index: Path) -> None:
    toy_dual.write_bundle(desk / "other", tint=2.0)
    result = run_command("embed", "images", "-o", "index.safetensors", "--bundle", "other", "--quiet")
    result.assert_error(2, "made by another model (toy-dual) than other")
    result = run_command("search", "red", "--index", "index.safetensors", "--bundle", "other", "--quiet")
    result.assert_error(2, "made by another model (toy-dual) than other", "--bundle")


def test_search_with_a_text(run_command: Run, desk: Path, index: Path) -> None:
    result = run_command("search", "a photo of green", "--index", "index.safetensors")
    assert result.exit_code == 0, result.stderr
    scores, paths = zip(*(line.split(maxsplit=1) for line in result.stdout.splitlines()), strict=True)
    assert paths[0] == "images/green.png" and len(paths) == 3
    assert [float(score) for score in scores] == sorted(map(float, scores), reverse=True)
    assert "using out/toy-dual (noted in the index; --bundle names another)" in result.stderr


def test_search_from_elsewhere_prints_paths_that_lead_there(
    run_command: Run, desk: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "else" / "where").mkdir(parents=True)
    monkeypatch.chdir(desk / "else" / "where")
    result = run_command("search", "blue", "--index", "../../index.safetensors", "--top-k", 1)
    assert result.stdout.split()[1] == "../../images/sub/blue.jpg"
    assert "using ../../out/toy-dual (noted in the index" in result.stderr


def test_an_index_moves_together_with_its_images(run_command: Run, desk: Path, tmp_path: Path) -> None:
    run_command("embed", "images", "-o", "images/index.safetensors")
    shutil.move(desk / "images", desk / "moved")
    said = json.loads(run_command("search", "blue", "--index", "moved/index.safetensors", "--json").stdout)
    assert said["hits"][0]["path"] == "moved/sub/blue.jpg"
    assert Path(said["hits"][0]["path"]).is_file()


def test_search_with_an_image_as_json(run_command: Run, desk: Path, index: Path) -> None:
    toy_dual.write_images(desk, "query/blue.png")
    result = run_command("search", "--image", "query/blue.png", "--index", "index.safetensors", "--top-k", 2, "--json")
    said = json.loads(result.stdout)
    assert (said["image"], said["model"], len(said["hits"])) == ("query/blue.png", "toy-dual", 2)
    assert said["hits"][0]["path"] == "images/sub/blue.jpg"
    assert said["hits"][0]["score"] == pytest.approx(1, abs=1e-2)  # a JPEG of blue is blue but for a grey level
    assert result.stderr == ""


def test_a_bundle_may_stand_before_the_text(run_command: Run, desk: Path, index: Path) -> None:
    result = run_command("search", "out/toy-dual", "red", "--index", "index.safetensors", "--quiet")
    assert result.stdout.splitlines()[0].endswith("images/red.png")


def test_hits_as_an_image(run_command: Run, desk: Path, index: Path) -> None:
    result = run_command("search", "red", "--index", "index.safetensors", "--sheet", "hits.png")
    assert "hits.png: the hits as an image" in result.stderr
    with Image.open(desk / "hits.png") as sheet:
        assert sheet.width > 3 * 220


def test_a_moved_bundle_is_found_by_its_tower(run_command: Run, desk: Path, index: Path) -> None:
    shutil.move(desk / "out" / "toy-dual", desk / "out" / "renamed")
    toy_dual.write_bundle(desk / "out" / "newer", tint=2.0)
    result = run_command("search", "red", "--index", "index.safetensors", "--top-k", 1)
    assert result.stdout.endswith("images/red.png\n")
    assert "using out/renamed (the only one that fits below out/" in result.stderr


def test_a_device_without_text_tower(run_command: Run, desk: Path) -> None:
    run_command("bank", "--labels", "red,blue", "--ship", "device")
    assert run_command("embed", "device", "images", "-o", "index.safetensors", "--quiet").exit_code == 0
    result = run_command("search", "--image", "images/red.png", "--index", "index.safetensors", "--top-k", 1, "--quiet")
    assert result.stdout.endswith("images/red.png\n")
    result = run_command("search", "red", "--index", "index.safetensors", "--bundle", "device", "--quiet")
    result.assert_error(2, "device: was shipped without its text tower, so it cannot embed text")
    # The whole bundle has the same image tower, and goes before the one noted in the index.
    result = run_command("search", "red", "--index", "index.safetensors", "--top-k", 1)
    assert result.stdout.endswith("images/red.png\n")
    assert "using out/toy-dual" in result.stderr


def test_a_query_of_5000_words_is_cut_and_that_is_said(run_command: Run, desk: Path, index: Path) -> None:
    result = run_command("search", "red " * 5000, "--index", "index.safetensors", "--top-k", 1, "--json")
    assert json.loads(result.stdout)["hits"][0]["path"] == "images/red.png"
    assert result.stderr.startswith("warning: a text was cut to the 12 tokens")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give one text in quotes"),
        ((" ",), "the text to look for is empty"),
        (("red", "cell"), "give one text in quotes"),
        (("red", "--image", "images/red.png"), "give one text in quotes"),
        (("--image", "absent.png"), "absent.png: no such file"),
        (("red", "--top-k", "0"), "top_k is 0"),
        (("red", "--index", "absent.safetensors"), "absent.safetensors: cannot be read"),
        (("red", "--index", "images/red.png"), "it is damaged or not an index"),
        (("red", "--index", "cut.safetensors"), "cut.safetensors"),
        (("red", "--index", "nan.safetensors"), "3 of 3 image embeddings are not finite"),
        (("red", "--sheet", "images/red.png/hits.png"), "cannot be written"),
    ],
)
def test_search_refuses(
    arguments: tuple[str, ...],
    message: str,
    run_command: Run,
    desk: Path,
    index: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (desk / "cut.safetensors").write_bytes(index.read_bytes()[:-30])
    found = ImageIndex.load(index)
    with monkeypatch.context() as patch:  # what another program may write
        patch.setattr(image_index, "require_rows", lambda *_: None)
        replace(found, embeddings=np.full((3, 4), np.nan, np.float32)).save(desk / "nan.safetensors")
    given = arguments if "--index" in arguments else (*arguments, "--index", "index.safetensors")
    run_command("search", *given, "--quiet").assert_error(2, message)


def test_ctrl_c_says_that_nothing_is_lost(run_command: Run, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object, pixels: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nexus_edge.engines.onnx.dual.OnnxDualEngine.encode_images", interrupt)
    result = run_command("embed", "images", "-o", "index.safetensors")
    result.assert_ended(130, "interrupted")
    assert "index.safetensors.partial keeps what is done; the same command goes on from there" in result.stderr
    assert not (desk / "index.safetensors").exists()


def test_killed_in_the_middle_it_goes_on_from_there(desk: Path) -> None:
    """A real process, killed without notice while it embeds one image after the other."""
    names = [f"many/{colour}.{number}.png" for number in range(100) for colour in ("red", "green", "blue")]
    toy_dual.write_images(desk, *names)
    script = (
        "import sys, time, nexus_edge.engines.onnx.dual as engine\n"
        "original = engine.OnnxDualEngine.encode_images\n"
        "def slow(self, pixels):\n    time.sleep(0.02)\n    return original(self, pixels)\n"
        "engine.OnnxDualEngine.encode_images = slow\n"
        "from nexus_edge.cli import main\nmain()\n"
    )
    command = [sys.executable, "-c", script, "embed", "many", "-o", "i.safetensors", "--batch-size", "1", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    partial = desk / "i.safetensors.partial"
    with subprocess.Popen(command, cwd=desk, env=environment, stdout=subprocess.PIPE) as process:
        while process.poll() is None and (not partial.exists() or partial.read_bytes().count(b"\n") < 20):
            time.sleep(0.01)
        process.kill()
    assert not (desk / "i.safetensors").exists()
    done = subprocess.run(command, cwd=desk, env=environment, capture_output=True, check=True)
    said = json.loads(done.stdout)
    assert said["pictures"] == 300
    assert said["unchanged"] >= 18 and said["embedded"] <= 282  # 20 lines are a head, and 19 images or part of one
    assert not partial.exists()
