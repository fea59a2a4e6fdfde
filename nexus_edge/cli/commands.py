"""Finds the commands, without importing them, and shows their help.

A command is a file in this folder whose docstring begins with "`nexus-edge NAME`: what it is for." and which defines a
function of that name; typer reads the function's signature. Nothing else lists it.
"""

import importlib
import re
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand, TyperGroup

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
    """A command whose help shows options under the heading that each has as its `rich_help_panel`."""

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Arguments, the command's own options, then each group in the order in which it first appears."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                plain = "Arguments" if param.param_type_name == "argument" else "Options"
                groups.setdefault(getattr(param, "rich_help_panel", None) or plain, []).append(record)
        order = sorted(
            groups, key=lambda name: ["Arguments", "Options"].index(name) if name in ("Arguments", "Options") else 2
        )
        for name in order:
            with formatter.section(name):
                formatter.write_dl(groups[name])


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
