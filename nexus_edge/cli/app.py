"""Builds the `nexus-edge` command and turns every deliberate error into one line and an exit code."""

import errno
import json
import os
import sys
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from nexus_edge import __version__
from nexus_edge.cli import completion
from nexus_edge.cli.commands import CONTEXT, LazyGroup
from nexus_edge.cli.interrupts import interrupts
from nexus_edge.cli.streams import Output, UnwrittenError, discard, prepared
from nexus_edge.cli.warned import warned
from nexus_edge.errors import InputError, NexusEdgeError

NAME = "nexus-edge"
INTERRUPTED = 130  # 128 + SIGINT, what a shell expects
# What a disk, its permissions or names say; any other OSError is a mistake of ours and keeps its traceback.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM}
NAME_ERRORS = {errno.ENAMETOOLONG, errno.ELOOP}
LONGEST_NAME = 300  # characters of a path in a message


def build_app() -> typer.Typer:
    """The typer application with every command of this folder."""
    app = typer.Typer(
        name=NAME,
        help="Take a vision-language model from its PyTorch checkpoint to the edge, and prove parity with it.",
        cls=LazyGroup,
        context_settings=CONTEXT,
        add_completion=False,  # `completion` finds the shell also where typer cannot
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @app.callback(invoke_without_command=True)
    def root(
        context: typer.Context,
        version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
        install_completion: Annotated[
            bool, typer.Option("--install-completion", help="Complete commands and options in this shell from now on.")
        ] = False,
        show_completion: Annotated[
            bool, typer.Option("--show-completion", help="Print what --install-completion would write.")
        ] = False,
    ) -> None:
        if version:
            typer.echo(f"{NAME} {__version__}")
        elif show_completion:
            completion.show(NAME)
        elif install_completion:
            completion.install(NAME)
        elif context.invoked_subcommand is None:
            typer.echo(context.get_help())
        else:
            return
        raise typer.Exit

    return app


def main() -> None:
    """Entry point of the console script: 0 done, 2 input, 3 parity, 4 checkpoint, 130 Ctrl-C; see `errors`.

    An exception that nobody meant to raise keeps its traceback and exits with 1. With --json, stdout gets one object in
    any case: the result, or `{"error": ...}`.
    """
    with prepared() as out, warned():
        try:
            # Not standalone: typer would print its own errors over several lines. It turns Ctrl-C into a returned code.
            with interrupts.allowed():
                completion.prepare(NAME)
                try:
                    code = build_app()(standalone_mode=False, prog_name=NAME)
                except SystemExit:  # typer's end of a completion, and its own and rich's of a reader that is gone
                    _flush(out)
                    raise
                _flush(out)
        except BrokenPipeError:
            _reader_is_gone(out)
        except UnwrittenError as error:
            _stop("OutputError", f"output: {error.strerror}", InputError.exit_code, out)
        except NexusEdgeError as error:
            _stop(type(error).__name__, str(error), error.exit_code, out)
        except typer.TyperException as error:
            message = error.format_message().rstrip(".")
            _stop("UsageError", f"{message}{'' if message.endswith('?') else ';'} see --help", error.exit_code, out)
        except MemoryError as error:
            detail = f" ({error})" if str(error) else ""
            _stop("MemoryError", f"not enough memory{detail}", InputError.exit_code, out)
        except OSError as error:
            if error.errno not in DISK_ERRORS | NAME_ERRORS:
                raise
            name = "output" if error.filename is None else os.fsdecode(error.filename)[:LONGEST_NAME]
            kind = "OutputError" if error.errno in DISK_ERRORS else "InputError"
            _stop(kind, f"{name}: {error.strerror}", InputError.exit_code, out)
        except (KeyboardInterrupt, typer.Abort):
            code = INTERRUPTED
        if code == INTERRUPTED:
            _stop("Interrupted", "interrupted", INTERRUPTED, out)
    sys.exit(code)


def _stop(kind: str, message: str, code: int, out: Output) -> NoReturn:
    """End with one line on stderr, whatever the message is made of; with --json also as an object on stdout.

    Not where a result is there already, as of a command that did its work and skipped something.
    """
    from nexus_edge.cli.answers import say

    line = " ".join(message.split("\n"))
    with suppress(OSError):  # nobody reads, or the disk below stderr is full: the exit code still says it
        say(f"error: {line}", style="red")
    try:
        if "--json" in sys.argv[1:] and not out.used:
            typer.echo(json.dumps({"error": {"kind": kind, "message": line, "exit_code": code}}))
        _flush(out)
    except OSError:
        discard(out)
    sys.exit(code)


def _flush(out: Output) -> None:
    try:
        out.flush()
    except BrokenPipeError:
        discard(out)


def _reader_is_gone(out: Output) -> NoReturn:
    """`nexus-edge ... | head` has what it wanted: no error, and nobody to tell it."""
    discard(out)
    sys.exit(1)
