"""Builds the `nexus-edge` command and turns every deliberate error into one line and an exit code."""

import errno
import importlib
import sys
from typing import Annotated, NoReturn

import typer

from nexus_edge import __version__
from nexus_edge.errors import InputError, NexusEdgeError

# Each name is a module beside this one that defines a function of the same name (typer reads its signature).
# Modules import torch and onnx inside the function, so that `--help` stays instant and the runtime install works.
COMMANDS = (
    "export",
    "run",
    "chat",
    "classify",
    "embed",
    "search",
    "bank",
    "bench",
    "tune",
    "parity",
    "verify",
    "compare",
)

INTERRUPTED = 130  # 128 + SIGINT, what a shell expects
# What a disk or its permissions say; any other OSError is a mistake of ours and keeps its traceback.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM}


def build_app() -> typer.Typer:
    """The typer application with every command of `COMMANDS`."""
    app = typer.Typer(
        name="nexus-edge",
        help="Take a vision-language model from its PyTorch checkpoint to the edge, and prove that it still is one.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @app.callback(invoke_without_command=True)
    def root(
        context: typer.Context,
        version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    ) -> None:
        if version:
            typer.echo(f"nexus-edge {__version__}")
            raise typer.Exit
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    for name in COMMANDS:
        module = importlib.import_module(f"nexus_edge.cli.{name}")
        app.command(name)(getattr(module, name))
    return app


def main() -> None:
    """Entry point of the console script: 0 done, 2 input, 3 parity, 4 checkpoint, 130 Ctrl-C; see `errors`.

    An exception that nobody meant to raise keeps its traceback and exits with 1.
    """
    try:
        # Not standalone: typer would print its own errors over several lines. It turns Ctrl-C into a returned code.
        code = build_app()(standalone_mode=False)
    except NexusEdgeError as error:
        _stop(str(error), error.exit_code)
    except typer.TyperException as error:
        _stop(f"{error.format_message().rstrip('.')}; see --help", error.exit_code)
    except MemoryError as error:
        _stop(f"not enough memory{f' ({error})' if str(error) else ''}", InputError.exit_code)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        _stop(f"{error.filename or 'output'}: {error.strerror}", InputError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:
        _stop("interrupted", INTERRUPTED)
    sys.exit(code)


def _stop(message: str, code: int) -> NoReturn:
    """End with one line on stderr, whatever the message is made of."""
    line = " ".join(message.split("\n"))
    typer.secho(f"error: {line}", fg=typer.colors.RED, err=True)
    sys.exit(code)
