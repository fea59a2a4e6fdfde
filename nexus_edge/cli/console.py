"""Consoles for tables, progress and messages, in which text of files stays text."""

import sys
from collections.abc import Iterable
from typing import IO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from nexus_edge._text import without_controls
from nexus_edge.cli.streams import Controls, Output


class PlainConsole(Console):
    """A console that writes control characters of what it prints as escapes; its own colours and moves stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(without_controls(segment.text), segment.style)


def console(*, stderr: bool = False) -> Console:
    """On stdout or stderr as they are now."""
    stream = sys.stderr if stderr else sys.stdout
    file = Controls(stream) if isinstance(stream, Output) else stream
    return PlainConsole(file=cast(IO[str], file), emoji=False)
