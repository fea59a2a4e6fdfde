"""Consoles and pipes of other systems: a command that did its work ends well whatever its output may not say."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from nexus_edge.cli.streams import Output, UnwrittenError, prepared

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# What Windows' consoles, the C locale without its UTF-8 rescue, and pipes of such give.
CONSOLES: dict[str, dict[str, str]] = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C locale": {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}
MAIN = [sys.executable, "-c", "from nexus_edge.cli import main; main()"]
Shell = Callable[..., "subprocess.CompletedProcess[bytes]"]


def shell(*arguments: object, stdin: bytes = b"", **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """The command in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in ("LC_ALL", "LANG", "PYTHONUTF8")}
    return subprocess.run(
        [*MAIN, *map(str, arguments)],
        cwd=ROOT, env={**kept, **environment}, input=stdin, capture_output=True, check=False,
    )  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Labels and an image whose names no code page holds all of."""
    (tmp_path / "labels.txt").write_text("Größe\n字\nΔ blood\n", encoding="utf-8")
    Image.new("RGB", (20, 20), "red").save(tmp_path / "字Δ.png")
    return tmp_path


@pytest.mark.parametrize("console", CONSOLES)
def test_labels_and_paths_are_escaped(console: str, dual_bundle: Any, files: Path) -> None:
    done = shell("classify", dual_bundle.root, files, "--labels-file", files / "labels.txt", **CONSOLES[console])
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr.decode("latin-1")
    said = done.stdout.decode("cp1252" if console == "cp1252" else "ascii")
    # Names of files are bytes, which the C locale knows nothing of.
    assert ("\\udce5\\udcad\\udc97" if console == "C locale" else "\\u5b57\\u0394.png") in said
    assert ("Größe" if console == "cp1252" else "Gr\\xf6\\xdfe") in said


@pytest.mark.parametrize("console", CONSOLES)
def test_tables_have_borders_that_the_console_has(console: str, toy_path: Path) -> None:
    done = shell("bench", toy_path, "--prompt-tokens", 8, "--new-tokens", 2, "--runs", 1, "-q", **CONSOLES[console])
    assert done.returncode == 0, done.stderr.decode("latin-1")
    said = done.stdout.decode("ascii")
    assert "| decode (2 new tokens)" in said and "\\u" not in said


def test_an_answer_is_escaped_where_the_code_page_ends(toy_path: Path) -> None:
    """Almost uniform draws give bytes of every kind."""
    options = ("--temperature", "1000000000", "--seed", 1, "--max-new-tokens", 60, "-q")
    plain = shell("run", toy_path, "-p", "x", *options, PYTHONIOENCODING="utf-8")
    done = shell("run", toy_path, "-p", "x", *options, PYTHONIOENCODING="cp1252")
    assert (plain.returncode, done.returncode) == (0, 0), done.stderr.decode("latin-1")
    answer = plain.stdout.decode("utf-8")
    escaped = "".join(one if one.encode("cp1252", "ignore") else json.dumps(one)[1:-1] for one in answer)
    assert done.stdout.decode("cp1252") == escaped
    assert answer.encode("cp1252", "ignore").decode("cp1252") != answer, "the answer has something to escape"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_json_is_json_in_every_encoding(toy_path: Path, encoding: str) -> None:
    draws = ("--temperature", "1000000000", "--seed", 1, "--max-new-tokens", 60)
    runs = [shell("run", toy_path, "-p", "x", *draws, "--json", PYTHONIOENCODING=one) for one in ("utf-8", encoding)]
    answers = [json.loads(run.stdout.decode(one))["answer"] for run, one in zip(runs, ("utf-8", encoding), strict=True)]
    assert not answers[0].isascii(), "there is something to escape"
    assert answers[0] == answers[1]


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe"])
def test_turns_from_powershell(toy_path: Path, files: Path, mark: bytes) -> None:
    turns = f"/image {files / '字Δ.png'}\r\nWhat?\r\n"
    encoded = mark + turns.encode("utf-8" if len(mark) == 3 else "utf-16-le")
    said = [
        shell("chat", toy_path, "--max-new-tokens", 4, stdin=stdin, PYTHONIOENCODING="utf-8")
        for stdin in (encoded, turns.encode("utf-8").replace(b"\r", b""))
    ]
    assert [one.returncode for one in said] == [0, 0], said[0].stderr.decode()
    assert said[0].stdout == said[1].stdout
    assert b"313 of images" in said[0].stderr


CELL = "nexus_edge/assets/tiny_biomedclip/heldout/cell_000.jpg"
UNWRITABLE = {
    ">&-": b"error: output: stdout is closed\n",
    "1</dev/null": b"error: output: Bad file descriptor\n",  # EBADF: open(2) for reading only
    ">/dev/full": b"error: output: No space left on device\n",  # ENOSPC: full(4)
}


def redirected(redirection: str, *arguments: object) -> "subprocess.CompletedProcess[bytes]":
    """The command with streams as a shell connects them."""
    command = shlex.join([*MAIN, *map(str, arguments)])
    script = f"exec {command} {redirection}"
    return subprocess.run(["/bin/sh", "-c", script], cwd=ROOT, capture_output=True, stdin=0, check=False)


def test_closed_streams_all_together() -> None:
    done = redirected(">&- 2>&- <&-", "--help")
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")


@pytest.mark.parametrize(
    ("redirection", "arguments"),
    [
        *((redirection, ("bank", "--list")) for redirection in UNWRITABLE),
        (">&-", ("--version",)), (">&-", ("bank", "--list", "--json")), (">&-", ("info", "{vlm}")),
        (">&-", ("run", "{vlm}", "-q", "-p", "Hi")), (">&-", ("run", "{vlm}", "-p", "Hi", "--json")),
        (">/dev/full", ("run", "{vlm}", "-q", "-p", "Hi")), (">/dev/full", ("--help",)),
        (">&-", ("classify", "{dual}", "-q", "--labels", "a,b", CELL)),
    ],
)  # fmt: skip
def test_a_result_that_cannot_be_written(
    redirection: str, arguments: tuple[str, ...], toy_path: Path, dual_bundle: Any
) -> None:
    if redirection == ">/dev/full" and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    named = [argument.format(vlm=toy_path, dual=dual_bundle.root) for argument in arguments]
    done = redirected(redirection, *named)
    assert done.returncode == 2
    assert done.stderr.endswith(UNWRITABLE[redirection]), done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("redirection", UNWRITABLE)
@pytest.mark.parametrize(
    "arguments",
    [
        ("parity", "none"),
        ("export", "phi3-vision", "--checkpoint", "/nowhere"),
        ("compare", "none", "none"),
        ("embed", "none", "-o", "i.safetensors"),
        ("verify", "none"),
    ],
)
def test_it_is_seen_before_the_work(redirection: str, arguments: tuple[str, ...]) -> None:
    """What they would work on is not there, which would be said first if it had been looked for."""
    done = redirected(redirection, *arguments)
    assert (done.returncode, done.stderr) == (2, UNWRITABLE[redirection])


def test_a_full_disk_below_stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = SimpleNamespace(f_blocks=100, f_bfree=0, f_bavail=0)
    monkeypatch.setattr(os, "statvfs", lambda place: full)
    with (tmp_path / "said.txt").open("w") as file, pytest.raises(UnwrittenError, match="No space left"):
        Output(file).require_open()
    with Path(os.devnull).open("w") as nowhere:  # on a disk for devices that may have no block left
        Output(nowhere).require_open()


def test_an_error_is_said_where_its_object_cannot_be() -> None:
    done = redirected(">&-", "exprot", "--json")
    assert (done.returncode, done.stderr) == (
        2,
        b"error: No such command 'exprot'. Did you mean 'export'? see --help\n",
    )


@pytest.mark.parametrize(
    "arguments", [("--help",), ("bank", "--list"), ("bank", "--list", "--json"), ("exprot", "--json")]
)
def test_a_reader_that_goes_away_is_no_traceback(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run([*MAIN, *arguments], cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert done.returncode in (1, 2)
    assert done.stderr.count(b"\n") <= 1 and b"Traceback" not in done.stderr and b"ignored" not in done.stderr


def test_no_color_where_it_is_not_wanted() -> None:
    assert b"\x1b" in shell("exprot", FORCE_COLOR="1").stderr, "so that the next line can fail"
    assert b"\x1b" not in shell("exprot", FORCE_COLOR="1", NO_COLOR="1").stderr


@pytest.mark.parametrize(
    ("arguments", "kind", "code"),
    [
        (("run", "none", "-p", "Hi", "--json"), "BundleError", 2),
        (("run", "none", "--json"), "UsageError", 2),
        (("export", "phi3-vison", "--json"), "RecipeError", 2),
        (("export", "phi3-vision", "--checkpoint", "/nowhere", "--json"), "CheckpointError", 4),
    ],
)
def test_errors_as_json(arguments: tuple[str, ...], kind: str, code: int) -> None:
    done = shell(*arguments)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["kind"], error["exit_code"]) == (code, kind, code)
    assert done.stderr.decode() == f"error: {error['message']}\n"


def test_streams_are_put_back() -> None:
    before = sys.stdout, sys.stderr
    with prepared() as out:
        assert sys.stdout is out and isinstance(sys.stderr, Output)
        assert not out.used
        sys.stdout.write("x")
        assert out.used
    assert (sys.stdout, sys.stderr) == before
