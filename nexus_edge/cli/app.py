"""Builds the `nexus-edge` command and turns every deliberate error into one line and an exit code."""

import importlib
import sys
from importlib.metadata import version

import typer
from rich.console import Console

from nexus_edge.errors import NexusEdgeError

# Each name is a module beside this one that defines a function of the same name (typer reads its signature).
# Modules import torch and onnx inside the function, so that `--help` stays instant and the runtime install works.
COMMANDS = ("export", "run", "chat", "bench", "parity", "verify")

INTERRUPTED = 130  # 128 + SIGINT, what a shell expects


def build_app() -> typer.Typer:
    """The typer application with every command of `COMMANDS`."""
    app = typer.Typer(
        name="nexus-edge",
        help="Take a vision-language model from its PyTorch checkpoint to the edge, and prove that it still is one.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @app.callback(invoke_without_command=True)
    def root(show_version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
        if show_version:
            typer.echo(f"nexus-edge {version('nexus-edge')}")
            raise typer.Exit

    for name in COMMANDS:
        module = importlib.import_module(f"nexus_edge.cli.{name}")
        app.command(name)(getattr(module, name))
    return app


def main() -> None:
    """Entry point of the console script."""
    try:
        build_app()()
    except NexusEdgeError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {error}", style="red", markup=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted")
        sys.exit(INTERRUPTED)
