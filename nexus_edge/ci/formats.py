"""The formats by name, and `--format`: which of them go where."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nexus_edge._atomic import replaced_when_done
from nexus_edge._typed import suggest
from nexus_edge.ci.github import append_summary, to_github
from nexus_edge.ci.gitlab import to_gitlab
from nexus_edge.ci.junit import to_junit
from nexus_edge.ci.outcome import Outcome
from nexus_edge.ci.sarif import to_sarif
from nexus_edge.errors import InputError

FORMATS: dict[str, Callable[[Outcome], str]] = {
    "github": to_github,
    "gitlab": to_gitlab,
    "sarif": to_sarif,
    "junit": to_junit,
    "markdown": lambda outcome: outcome.markdown,
    "json": lambda outcome: outcome.json,
}


@dataclass(frozen=True)
class Delivery:
    """One format and the file it goes to; None is stdout."""

    format: str
    file: Path | None

    def text(self, outcome: Outcome) -> str:
        """What is written."""
        return FORMATS[self.format](outcome)


@dataclass(frozen=True)
class Deliveries:
    """Everything that a command is asked to write."""

    items: tuple[Delivery, ...] = ()

    @classmethod
    def parse(
        cls, formats: Sequence[str], output: Path | None, *, as_json: bool = False, others: Sequence[Path] = ()
    ) -> "Deliveries":
        """`--format NAME` or `NAME=FILE`, repeated; `--output FILE` for the one without a file; `--json`.

        `others` are files that the command itself writes.

        Raises:
            InputError: an unknown format, two for stdout, two into one file, or an --output without a format.
        """
        items = []
        for text in formats:
            name, equals, file = text.partition("=")
            if name not in FORMATS:
                raise InputError(f"--format {text!r}{suggest(name, FORMATS)}")
            if equals and not file:
                raise InputError(f"--format {text!r}: names no file after the equals sign")
            items.append(Delivery(name, Path(file) if equals else None))
        if as_json:
            items.append(Delivery("json", None))
        loose = [item for item in items if item.file is None]
        if len(loose) > 1:
            names = ", ".join(item.format for item in loose)
            raise InputError(f"{names}: only one can go to stdout; write the others as --format NAME=FILE")
        if output is not None:
            if not loose or as_json:
                raise InputError("--output: needs one --format without a file of its own")
            items = [Delivery(item.format, item.file or output) for item in items]
        files = [file.resolve() for file in (*others, *(item.file for item in items)) if file is not None]
        if twice := [file for file in files if files.count(file) > 1]:
            raise InputError(f"{twice[0]}: two formats cannot go into one file")
        return cls(tuple(items))

    @property
    def for_stdout(self) -> Delivery | None:
        """What replaces the table for people; GitHub's log is for people and keeps it."""
        return next((item for item in self.items if item.file is None), None)

    def write_files(self, outcome: Outcome) -> None:
        """Everything but stdout, and the summary of a GitHub job where annotations were asked for.

        Raises:
            OutputError: a file cannot be written
        """
        for item in self.items:
            if item.file is not None:
                with replaced_when_done(item.file) as path:
                    path.write_text(item.text(outcome), "utf-8")
        if any(item.format == "github" for item in self.items):
            append_summary(outcome)
