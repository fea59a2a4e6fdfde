"""Text of files, labels, configurations and manifests is never a terminal's command: it is shown as escapes."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_dual
from rich.text import Text

from nexus_edge.bundle import Bundle
from nexus_edge.cli.console import console
from nexus_edge.cli.streams import Output
from nexus_edge.runtimes import ImageIndex, LabelBank

Run = Callable[..., Any]
EVIL = "red\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\r"  # a title, a cleared screen, a colour of C1's CSI
SHOWN = "red\\u001b]0;owned\\u0007\\u001b[2J\\u009b31m\\u007f\\u000d"


def is_plain(text: str) -> bool:
    return all(letter.isprintable() or letter in "\n\t" for letter in text)


@pytest.fixture
def evil(desk: Path) -> Path:
    """Everything in the folder that has a text says it."""
    manifest = desk / "out" / "toy-dual" / "manifest.json"
    value = json.loads(manifest.read_text("utf-8"))
    value["name"] = EVIL
    value["source"]["license"] = EVIL
    value["recipe"]["description"] = EVIL
    value["parity"] = {"verdict": "passed", "rungs": {EVIL: "passed"}, "targets": {}, "reason": EVIL}
    manifest.write_text(json.dumps(value), "utf-8")
    (desk / "labels.txt").write_text(f"{EVIL.rstrip()}x\nblue\n", "utf-8", newline="")
    return desk


COMMANDS = (
    ("info", "out/toy-dual"),
    ("info", "out/toy-dual", "--json"),
    ("list",),
    ("classify", "images/red.png", "--labels-file", "labels.txt"),
    ("classify", "images", "--labels-file", "labels.txt", "--json"),
    ("bank", "--labels-file", "labels.txt", "-o", "my.bank"),
    ("embed", "images", "-o", "new.safetensors"),
    ("bench", "out/toy-dual", "--runs", "1", "--prompt-tokens", "8"),
    ("verify", "out/toy-dual"),
    ("run", "out/toy-dual", "--prompt", "x"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_that_a_command_says(command: tuple[str, ...], evil: Path, run_command: Run) -> None:
    done = run_command(*command)
    assert is_plain(done.stdout) and is_plain(done.stderr), (done.stdout, done.stderr)
    if "--json" in command:
        assert EVIL.rstrip() in str(list(_texts(json.loads(done.stdout)))[:99]) or "red" in done.stdout
    assert "owned" in done.stdout + done.stderr or command[0] in ("verify", "run", "list", "embed")


def _texts(value: object) -> Any:
    if isinstance(value, dict):
        for item in value.items():
            yield from map(_texts, item)
    yield value


def test_the_names_in_a_bank_and_an_index(evil: Path, run_command: Run) -> None:
    bank = run_command("bank", "--labels", "red,blue", "-o", "my.bank", "--quiet")
    assert bank.exit_code == 0, bank.stderr
    made = LabelBank.load(evil / "my.bank")
    replace(made, text_tower="0" * 64, model=EVIL).save(evil / "my.bank")
    done = run_command("classify", "images", "--bank", "my.bank", "--bundle", "out/toy-dual", "--quiet")
    done.assert_error(2, SHOWN)
    assert is_plain(done.stderr)
    assert run_command("embed", "images", "-o", "i.safetensors", "--quiet").exit_code == 0
    index = ImageIndex.load(evil / "i.safetensors")
    replace(index, image_tower="0" * 64, model=EVIL, paths=(f"{EVIL}.png", *index.paths[1:])).save("i.safetensors")
    done = run_command("search", "red", "--index", "i.safetensors", "--bundle", "out/toy-dual", "--quiet")
    done.assert_error(2, SHOWN)
    assert is_plain(done.stderr)


def test_tables_keep_their_own_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Output(stream, plain=True))
    console().print(Text(f"{EVIL}!", style="red"))
    sys.stdout.write(EVIL)
    assert "\x1b[31m" in stream.getvalue(), "a colour of ours"
    table, _, text = stream.getvalue().replace("\x1b[31m", "").replace("\x1b[0m", "").partition("\n")
    assert table.split() == SHOWN.replace("\\u0007", "").replace("\\u000d", "!").split(), "rich leaves some out"
    assert text == SHOWN


def test_a_title_is_no_markup(dual_bundle: Bundle, tmp_path: Path, run_command: Run) -> None:
    """Of rich, a closing tag without its opening one is an error."""
    bundle = toy_dual.write_bundle(tmp_path / "[/red]")
    done = run_command("bench", bundle.root, "--runs", "1", "--prompt-tokens", "8", "--quiet")
    assert done.exit_code == 0, done.stderr
