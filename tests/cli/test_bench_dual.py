"""`nexus-edge bench` on a dual encoder: what is measured, and what cannot be."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import toy_dual
from PIL import Image

from nexus_edge.bundle import Bundle
from nexus_edge.runtimes import load_dual_encoder
from nexus_edge.runtimes.dual_encoder import benchmark as dual_benchmark

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dual_benchmark, "MIN_SECONDS", 0.01)
    monkeypatch.setattr(dual_benchmark, "TEXT_TOKENS", 8)  # the toy reads 12


def test_bench_as_json(run_command: Run, dual_bundle: Bundle) -> None:
    result = run_command("bench", dual_bundle.root, "--runs", 2, "--json")
    said = json.loads(result.stdout)
    assert (said["model"], said["weights"], said["runs"], said["text_tokens"]) == ("toy-dual", "synthetic", 2, 8)
    for name in ("images_per_s", "texts_per_s"):
        assert list(said[name]) == ["1", "4", "16"]
        for batch, rate in said[name].items():
            runs = said[f"{name}_each_run"][batch]
            assert len(runs) == 2 and min(runs) <= rate <= max(runs) and rate > 0
    for name in ("image_load_s", "text_load_s", "preprocess_ms"):
        assert said[name] > 0
    # numpy and ONNX Runtime alone take tens of megabytes; a wrong unit would be off by 1024.
    assert 30e6 < said["peak_rss_bytes"] < 30e9
    assert result.stderr == ""


def test_bench_prints_a_table(run_command: Run, dual_bundle: Bundle, tmp_path: Path) -> None:
    (path,) = toy_dual.write_images(tmp_path, "red.png")
    result = run_command("bench", dual_bundle.root, "--runs", 1, "--image", path, "--prompt-tokens", 12)
    assert result.exit_code == 0, result.stderr
    for row in (
        "image tower, load and first image", "text tower, load", "image to 16 pixels", "image tower, batch 1 ",
        "image tower, batch 16", "text tower (12 tokens), batch 4", "peak memory", "synthetic weights",
    ):  # fmt: skip
        assert row in result.stdout


def test_a_bundle_without_text_tower(run_command: Run, desk: Path) -> None:
    run_command("bank", "--labels", "red,blue", "--ship", "device")
    said = json.loads(run_command("bench", "device", "--runs", 1, "--json").stdout)
    assert said["images_per_s"]["16"] > 0
    assert not [name for name in said if name.startswith("text")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--runs", 0), "runs is 0"),
        (("--prompt-tokens", 13), "a text of this model has 2 to 12"),
        (("--prompt-tokens", 1), "a text of this model has 2 to 12"),
        (("--image", "absent.png"), "absent.png: no such file"),
    ],
)
def test_bench_refuses(arguments: tuple[object, ...], message: str, run_command: Run, dual_bundle: Bundle) -> None:
    run_command("bench", dual_bundle.root, "--quiet", *arguments).assert_error(2, message)


def test_the_texts_have_the_length_they_are_said_to_have(dual_bundle: Bundle) -> None:
    ids = dual_benchmark.text_ids(load_dual_encoder(dual_bundle), 7, 3)
    assert ids.shape == (3, 7)
    assert (ids[:, 0] == toy_dual.WORDS.index("[CLS]")).all() and (ids[:, -1] == toy_dual.WORDS.index("[SEP]")).all()
    assert (ids != 0).all()


def test_the_sample_is_a_photograph_in_size() -> None:
    sample = dual_benchmark.sample_image()
    with Image.open(BytesIO(sample)) as image:
        assert (image.format, image.size) == ("JPEG", (1024, 768))
    assert 100_000 < len(sample) < 400_000  # bytes; what a camera makes of as many pixels
