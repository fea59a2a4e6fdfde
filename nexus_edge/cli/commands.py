"""Finds the commands, without importing them, and shows their help.

A command is a file in this folder whose docstring begins with "`nexus-edge NAME`: what it is for." and which defines a
function of that name; typer reads the function's signature. Nothing else lists it.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from nexus_edge._arguments import EMPTY_PATH
from nexus_edge.cli.streams import Output
from nexus_edge.errors import InputError

if TYPE_CHECKING:
    from typer._click import Command as ClickCommand
    from typer._click import Context, HelpFormatter
    from typer._click.shell_completion import CompletionItem

FOLDER = Path(__file__).parent
FIRST_LINE = re.compile(r'"""`nexus-edge (?P<name>[a-z]+)`: (?P<summary>.*?)(?:""")?$')
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def find_commands(folder: Path = FOLDER) -> dict[str, str]:
    """Name -> what it is for, in the order of the alphabet."""
    found = {}
    for path in sorted(folder.glob("*.py")):
        with path.open(encoding="utf-8") as file:
            line = FIRST_LINE.fullmatch(file.readline().rstrip("\n"))
        if line is not None and line["name"] == path.stem:
            found[path.stem] = line["summary"][0].upper() + line["summary"][1:]
    return found


HEADINGS = {
    "Answer": ("max_new_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop"),
    "Engine": ("threads", "engine", "device", "allow_rejected"),
    "Output": ("quiet", "as_json", "formats", "output", "junit", "html", "markdown"),
}
"""Options that several commands share, by the heading that they stand under in each help; others are "Options"."""
TEXTS = {"prompt", "system", "labels", "template", "stop"}
"""Options that hold text, which may be empty or says itself that it may not; others are names."""


class Commands(MutableMapping[str, "ClickCommand"]):
    """Commands by name; each is imported when it is asked for."""

    def __init__(self) -> None:
        self.summaries = find_commands()
        self._loaded: dict[str, ClickCommand] = {}

    def __getitem__(self, name: str) -> "ClickCommand":
        if name not in self._loaded:
            if name not in self.summaries:
                raise KeyError(name)
            module = importlib.import_module(f"nexus_edge.cli.{name}")
            app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=CONTEXT)
            app.command(name, cls=GroupedOptions)(getattr(module, name))
            self._loaded[name] = typer.main.get_command(app)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.summaries)

    def __len__(self) -> int:
        return len(self.summaries)

    def __setitem__(self, name: str, command: "ClickCommand") -> None:
        raise TypeError("a command is a file in nexus_edge/cli")

    def __delitem__(self, name: str) -> None:
        raise TypeError("a command is a file in nexus_edge/cli")


class GroupedOptions(TyperCommand):
    """A command whose help shows shared options under the `HEADINGS`, and which takes no empty path."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """As everywhere, but an empty path or name, as of a shell's variable that is not set, is refused by its option.

        Of arguments that are texts too: a bundle's folder may stand before one.

        Raises:
            InputError: it is one
        """
        given = {} if ctx.resilient_parsing else self.make_parser(ctx).parse_args(args=list(args))[0]
        paths, names = _of_type(Path, self.callback), _of_type(str, self.callback) - TEXTS
        for param in self.get_params(ctx):
            values = given.get(param.name or "")
            is_argument, is_path = param.param_type_name == "argument", param.name in paths
            is_named = is_argument or is_path or param.name in names
            if is_named and "" in (values if isinstance(values, list | tuple) else [values]):
                name = (param.name or "").upper() if is_argument else max(param.opts, key=len)
                raise InputError(f"{name} {EMPTY_PATH if is_path else 'is empty; see --help'}")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: "Context") -> Any:
        """Run it, if its result can be written: a closed stdout or a full disk shows before the work.

        Raises:
            UnwrittenError: nothing can be written
        """
        if isinstance(sys.stdout, Output):
            sys.stdout.require_open()
        return super().invoke(ctx)

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Arguments, the command's own options, then the shared ones."""
        heading_of = {name: heading for heading, names in HEADINGS.items() for name in names}
        groups: dict[str, list[tuple[str, str]]] = {heading: [] for heading in ("Arguments", "Options", *HEADINGS)}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                own = "Arguments" if param.param_type_name == "argument" else "Options"
                groups[heading_of.get(param.name or "", own)].append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def _of_type(kind: type, command: Callable[..., object] | None) -> set[str]:
    """Names of a command's parameters that are of a type, or a list of it."""
    hints = get_type_hints(inspect.unwrap(command)) if command else {}
    return {name for name, hint in hints.items() if kind in _types_in(hint)}


def _types_in(hint: object) -> set[object]:
    inner = get_args(hint)
    return {hint} if not inner else set().union(*map(_types_in, inner))


class LazyGroup(TyperGroup):
    """The root: its help and its completion read the first line of each command's file, and import none."""

    def __init__(self, **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]  # typer passes what it made of Typer's arguments
        self.commands = Commands()

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Whole summaries, wrapped instead of cut."""
        assert isinstance(self.commands, Commands)
        with formatter.section("Commands"):
            formatter.write_dl(list(self.commands.summaries.items()))

    def shell_complete(self, ctx: "Context", incomplete: str) -> "list[CompletionItem]":
        """Names with their summaries, and the root's own options."""
        from typer._click.shell_completion import CompletionItem

        assert isinstance(self.commands, Commands)
        found = [
            CompletionItem(name, help=summary)
            for name, summary in self.commands.summaries.items()
            if name.startswith(incomplete)
        ]
        return found + super(TyperGroup, self).shell_complete(ctx, incomplete)
