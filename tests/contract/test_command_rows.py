"""Every command: an unknown option and a file that is not there are one line each, and no traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_edge.cli import app
from nexus_edge.cli.commands import Commands, find_commands

pytestmark = pytest.mark.fast
Call = Callable[..., tuple[int, str, str]]
READERS = [name for name in find_commands() if any(p.param_type_name == "argument" for p in Commands()[name].params)]
"""Commands with an argument, all of which name what is read; `list` and others may have none that is required."""


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """(arguments...) -> exit code, stdout, stderr of the console script, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXUS_EDGE_BUNDLE", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["nexus-edge", *arguments])
        with pytest.raises(SystemExit) as stopped:
            app.main()
        return (int(stopped.value.code or 0), *capsys.readouterr())

    return run


@pytest.mark.parametrize("command", find_commands())
def test_help_is_there_and_an_unknown_option_is_not(command: str, call: Call) -> None:
    code, out, err = call(command, "--help")
    assert code == 0 and err == "" and f"nexus-edge {command}" in out
    code, out, err = call(command, "--of-next-year")
    assert (code, out) == (2, "") and "--of-next-year" in err
    assert err.count("\n") == 1 and err.startswith("error: ")


@pytest.mark.parametrize("command", READERS)
def test_what_is_not_there_is_named_in_one_line(command: str, call: Call, tmp_path: Path) -> None:
    """However much a command wants to be told beside it: one of these lines is complete."""
    messages = []
    for many, options in ((1, []), (2, []), (1, ["--out", "absent/out"])):
        code, out, err = call(command, *absent(command, many), *options)
        assert code in (2, 4) and out == ""
        assert err.count("\n") == 1 and err.startswith("error: ")
        messages.append(err)
    assert any("absent/" in message for message in messages), messages
    assert list(tmp_path.iterdir()) == [], "nothing was made"


def absent(command: str, many: int) -> list[str]:
    """A path that leads nowhere for each argument, `many` for one that takes several, and each required option."""
    given: list[str] = []
    for param in Commands()[command].params:
        if param.param_type_name == "argument":
            given += [f"absent/{param.name}"] * (1 if param.nargs == 1 else many)
        elif param.required:
            given += [max(param.opts, key=len), f"absent/{param.name}"]
    return given
