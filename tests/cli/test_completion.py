"""Completion: the scripts of the shells, and what they get when they ask."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nexus_edge.cli import completion
from nexus_edge.errors import InputError

ROOT = Path(__file__).parents[2]
MAIN = [sys.executable, "-c", "from nexus_edge.cli import main; main()"]


def asked(shell: str, line: str, *words: str) -> list[str]:
    """What the command answers to a shell that completes `line`."""
    variables = {
        "_NEXUS_EDGE_COMPLETE": f"complete_{shell}", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1),
        "_TYPER_COMPLETE_ARGS": line,
    }  # fmt: skip
    done = subprocess.run(MAIN, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_commands_and_options_are_completed() -> None:
    assert asked("bash", "nexus-edge pa") == ["parity"]
    assert "--max-new-tokens" in asked("bash", "nexus-edge run --ma")
    zsh = " ".join(asked("zsh", "nexus-edge ex"))
    assert '"export":"Export a checkpoint as a bundle."' in zsh


@pytest.mark.parametrize(("shell", "part"), [("bash", "complete -o default -F"), ("zsh", "#compdef nexus-edge")])
def test_the_script_is_that_of_the_shell(
    shell: str, part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, f"/bin/{shell}"))
    completion.show("nexus-edge")
    said = capsys.readouterr().out
    assert part in said and "_NEXUS_EDGE_COMPLETE=complete_" in said


def test_install_writes_below_home_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    completion.install("nexus-edge")
    (written,) = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".bashrc"]
    assert str(written) in capsys.readouterr().out
    assert "nexus-edge" in written.read_text(encoding="utf-8")


def test_a_shell_that_cannot_be_seen_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import shellingham

    def fail() -> None:
        raise shellingham.ShellDetectionFailure

    monkeypatch.setattr("shellingham.detect_shell", fail)
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert completion.this_shell() == "fish"
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    with pytest.raises(InputError, match="found 'tcsh'"):
        completion.this_shell()
