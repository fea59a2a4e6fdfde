"""Completion in shells: typer's scripts, for the shell that is named or found."""

import os
from pathlib import Path

import typer

from nexus_edge.errors import InputError

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")


def prepare(program: str) -> None:
    """Where a shell asks for completions, let typer answer it in the shell's own way."""
    if _variable(program) in os.environ:
        from typer._completion_classes import completion_init

        completion_init()


def show(program: str) -> None:
    """Print the script of this shell."""
    from typer._completion_shared import get_completion_script

    typer.echo(get_completion_script(prog_name=program, complete_var=_variable(program), shell=this_shell()))


def install(program: str) -> None:
    """Put the script where this shell looks for it, and say where that is."""
    from typer._completion_shared import install as write

    shell, path = write(shell=this_shell(), prog_name=program)
    typer.echo(f"{path}: completion for {shell}; it works in new terminals")


def _variable(program: str) -> str:
    """What a script of completion sets when it asks."""
    return f"_{program.replace('-', '_').upper()}_COMPLETE"


def this_shell() -> str:
    """The shell that started this process, or $SHELL where that cannot be seen; raises InputError."""
    from shellingham import ShellDetectionFailure, detect_shell  # type: ignore[import-untyped]

    try:
        name = str(detect_shell()[0])
    except (ShellDetectionFailure, OSError):
        name = Path(os.environ.get("SHELL", "")).stem
    if name not in SHELLS:
        raise InputError(
            f"which shell this is cannot be told (found {name!r}); set SHELL to one of {', '.join(SHELLS)}"
        )
    return name
