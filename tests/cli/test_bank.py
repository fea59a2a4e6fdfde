"""`nexus-edge bank` on the toy: banks, bundles for devices, and the list of built-in sets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.runtimes import LabelBank

Run = Callable[..., Any]


def test_a_bank_from_labels(run_command: Run, desk: Path) -> None:
    result = run_command("bank", "--labels", "red,blue", "--template", "{} cell", "-o", "my.bank")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("my.bank: 2 labels, ")
    assert "using out/toy-dual" in result.stderr
    bank = LabelBank.load(desk / "my.bank")
    assert (bank.labels, bank.prompts.templates) == (("red", "blue"), ("{} cell",))


@pytest.mark.parametrize("named", [("tcga-til",), ("out/toy-dual", "tcga-til"), ("my.toml",)])
def test_a_bank_from_a_set(named: tuple[str, ...], run_command: Run, desk: Path) -> None:
    text = 'title = "t"\nsource = "s"\nlabels = ["none", "some"]\ntemplates = ["{}"]\n'
    (desk / "my.toml").write_text(text)
    result = run_command("bank", *named, "-o", "my.bank", "--json")
    said = json.loads(result.stdout)
    assert said["labels"][0] == "none" and len(said["labels"]) == 2
    assert said["bytes"] == {"my.bank": (desk / "my.bank").stat().st_size}


def test_a_bundle_and_a_bank_at_once(run_command: Run, desk: Path) -> None:
    result = run_command("bank", "--labels", "red,blue", "-o", "my.bank", "--ship", "device", "--quiet")
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == ["my.bank", "device"]
    assert set(Bundle.open(desk / "device", check="sha256").manifest.graphs["onnx"]) == {"image_encoder"}


def test_what_is_there_is_replaced_only_if_told(run_command: Run, desk: Path) -> None:
    options = ("-o", "my.bank", "--ship", "device", "--quiet")
    assert run_command("bank", "--labels", "red,blue", *options).exit_code == 0
    before = (desk / "my.bank").read_bytes()
    run_command("bank", "--labels", "red", *options).assert_error(2, "my.bank: exists already; use --force")
    assert (desk / "my.bank").read_bytes() == before
    assert run_command("bank", "--labels", "red", *options, "--force").exit_code == 0
    assert LabelBank.load(desk / "my.bank").labels == ("red",)
    assert LabelBank.load(desk / "device" / "labels.bank").labels == ("red",)


def test_force_replaces_no_folder_that_is_no_bundle(run_command: Run, desk: Path) -> None:
    result = run_command("bank", "--labels", "red", "--ship", "images", "--force", "--quiet")
    result.assert_error(2, "images: is not a bundle")
    assert (desk / "images" / "red.png").is_file()


def test_the_built_in_sets_are_listed(run_command: Run) -> None:
    result = run_command("bank", "--list")
    for word in ("pcam", "lc25000-lung", "lc25000-colon", "tcga-til", "rsna", "blood-cells", "pneumonia", "2303.00915"):
        assert word in result.stdout
    said = json.loads(run_command("bank", "--list", "--json").stdout)
    assert said["rsna"]["labels"] == ["normal lung", "pneumonia"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--labels", "red"), "no output: give -o FILE"),
        (("-o", "b"), "no labels: give"),
        (("pcam", "rsna", "-o", "b"), "rsna: one set of labels makes a bank"),
        (("pcam", "--labels", "red", "-o", "b"), "give labels once"),
        (("pcam.txt", "-o", "b"), "pcam.txt: no such file, and no built-in bank; did you mean 'pcam'?"),
        (("--labels", "red,red", "-o", "b"), "'red' appears twice"),
        (("--labels", "red", "-o", "images/red.png/b"), "cannot be written"),
    ],
)
def test_bank_refuses(arguments: tuple[str, ...], message: str, run_command: Run, desk: Path) -> None:
    run_command("bank", *arguments, "--quiet").assert_error(2, message)
    assert not (desk / "b").exists()


def test_a_device_cannot_make_banks(run_command: Run, desk: Path) -> None:
    run_command("bank", "--labels", "red,blue", "--ship", "device")
    result = run_command("bank", "device", "--labels", "green", "-o", "b", "--quiet")
    result.assert_error(2, "device: was shipped without its text tower")
