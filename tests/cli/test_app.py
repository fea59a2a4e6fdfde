"""The command itself: help, version, usage errors, and what becomes of every kind of exception."""

import errno
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_edge import __version__
from nexus_edge.cli import app
from nexus_edge.cli.commands import Commands, find_commands
from nexus_edge.errors import CheckpointError, InputError, ParityError

ROOT = Path(__file__).parents[2]
HEAVY = "{'torch', 'onnx', 'onnxruntime', 'onnxscript', 'matplotlib', 'huggingface_hub'}"
COMMANDS = tuple(find_commands())
Call = Callable[..., tuple[Any, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """(arguments...) -> exit code, stdout, stderr of the console script, in this process."""

    def run(*arguments: object) -> tuple[Any, str, str]:
        monkeypatch.setattr("sys.argv", ["nexus-edge", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            app.main()
        return (stopped.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, call: Call) -> Call:
    """(exception) -> what the console script makes of it, when a command raises it."""

    def run(error: BaseException) -> tuple[Any, str, str]:
        def fail(*arguments: object, **options: object) -> None:
            raise error

        monkeypatch.setattr("nexus_edge.cli.export.ExportRequest.resolve", fail)
        return call("export", "phi3-vision")

    return run


def test_version_and_help(call: Call) -> None:
    assert call("--version") == (0, f"nexus-edge {__version__}\n", "")
    assert call() == call("--help")
    code, out, _ = call("--help")
    assert code == 0
    assert all(f"\n  {command} " in out for command in COMMANDS)
    assert "..." not in out.replace("[ARGS]...", ""), "nothing is cut"
    assert call("-h") == call("--help")


def test_a_command_is_a_file_that_begins_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "weigh.py").write_text('"""`nexus-edge weigh`: how heavy a bundle is."""\n', encoding="utf-8")
    (tmp_path / "helper.py").write_text('"""What `nexus-edge weigh` needs."""\n', encoding="utf-8")
    (tmp_path / "copy.py").write_text('"""`nexus-edge weigh`: of another name."""\n', encoding="utf-8")
    assert find_commands(tmp_path) == {"weigh": "How heavy a bundle is."}
    assert {"export", "run", "chat", "parity", "verify"} <= set(COMMANDS)
    for name in COMMANDS:
        assert callable(getattr(importlib.import_module(f"nexus_edge.cli.{name}"), name))


def test_help_imports_no_command() -> None:
    script = (
        "import sys\n"
        "from nexus_edge.cli.app import main\n"
        "sys.argv = ['nexus-edge', '--help']\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted({'numpy', 'nexus_edge.cli.run'} & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_commands_help_says_what_it_is_for(command: str, call: Call) -> None:
    code, out, err = call(command, "--help")
    assert (code, err) == (0, "")
    assert "Usage: " in out
    assert [one.name for one in Commands()[command].params if not one.help] == [], "each option is explained"


def test_help_is_instant_because_it_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from nexus_edge.cli.app import main\n"
        "sys.argv = ['nexus-edge', 'export', '--help']\n"
        "try:\n    main()\n"
        f"finally:\n    print(sorted({HEAVY} & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("exprot",), "No such command 'exprot'. Did you mean 'export'? see --help"),
        (("export",), "'model'"),
        (("export", "phi3-vision", "--int5"), "--int5"),
        (("run", "out/bundle"), "--prompt"),
        (("run", "out/bundle", "--prompt", "Hi", "--max-new-tokens", "many"), "--max-new-tokens"),
        (("bench", "out/bundle", "more"), "more"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str, call: Call) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("error: ") and err.endswith("see --help\n") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("what, where, what to do"), 2, "error: what, where, what to do\n"),
        (ParityError("decoder, layer 3"), 3, "error: decoder, layer 3\n"),
        (CheckpointError("two\nlines"), 4, "error: two lines\n"),
        (InputError("a [bold]name[/bold] stays as it is"), 2, "error: a [bold]name[/bold] stays as it is\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (MemoryError(), 2, "error: not enough memory\n"),
        (MemoryError("Unable to allocate 8 GiB"), 2, "error: not enough memory (Unable to allocate 8 GiB)\n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2, "error: output: No space left on device\n"),
        (PermissionError(errno.EACCES, "Permission denied", "a.html"), 2, "error: a.html: Permission denied\n"),
        (OSError(errno.ENAMETOOLONG, "too long", "x" * 5000), 2, f"error: {'x' * 300}: too long\n"),
        (OSError(errno.ELOOP, "Too many levels", b"loop"), 2, "error: loop: Too many levels\n"),
    ],
)
def test_a_deliberate_error_is_one_line_and_its_exit_code(
    error: BaseException, code: int, line: str, failing: Call
) -> None:
    assert failing(error) == (code, "", line)


@pytest.mark.parametrize("error", [ZeroDivisionError(), FileNotFoundError(errno.ENOENT, "absent"), RuntimeError("bug")])
def test_an_unexpected_error_keeps_its_traceback(error: Exception, failing: Call) -> None:
    with pytest.raises(type(error)):
        failing(error)


def test_a_reader_that_goes_away_is_no_error() -> None:
    # What `nexus-edge --help | true` is, without the race between the two.
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-c", "from nexus_edge.cli import main; main()"],
            cwd=ROOT, stdout=closed, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == ""
