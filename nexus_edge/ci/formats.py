"""The formats by name, and `--format`: which of them go where."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nexus_edge._arguments import resolved
from nexus_edge._atomic import replaced_when_done
from nexus_edge._outputs import FileKind, require_apart, require_name, require_own, require_place
from nexus_edge._typed import suggest
from nexus_edge.ci.github import SUMMARY, append_summary, summary_file, to_github
from nexus_edge.ci.gitlab import to_gitlab
from nexus_edge.ci.junit import to_junit
from nexus_edge.ci.marks import KINDS
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
    """One format, the file it goes to, None for stdout, and the option that says so."""

    format: str
    file: Path | None
    option: str = "--format"

    def text(self, outcome: Outcome) -> str:
        """What is written."""
        return FORMATS[self.format](outcome)


@dataclass(frozen=True)
class Deliveries:
    """Everything that a command is asked to write.

    Attributes:
        items: in the formats of `FORMATS`
        others: that the command itself writes, with what each is
    """

    items: tuple[Delivery, ...] = ()
    others: tuple[tuple[str, Path, FileKind], ...] = ()

    @classmethod
    def parse(
        cls,
        formats: Sequence[str],
        output: Path | None,
        *,
        as_json: bool = False,
        junit: Path | None = None,
        others: Sequence[tuple[str, Path | None, FileKind]] = (),
    ) -> "Deliveries":
        """`--format NAME` or `NAME=FILE`, repeated; `--output FILE` for the one without a file; `--json`; `--junit`.

        `others` are files that the command itself writes: the option, the file if it was given, and what it is.

        Raises:
            InputError: an unknown format, two for stdout, two into one file, an --output without a format, or a file
                that is not named as what it is to hold.
        """
        items = []
        for text in formats:
            name, equals, file = text.partition("=")
            if name not in FORMATS:
                raise InputError(f"--format {text!r}{suggest(name, FORMATS)}")
            if equals and not file:
                raise InputError(f"--format {text!r}: names no file after the equals sign")
            items.append(Delivery(name, Path(file) if equals else None))
        if junit is not None:
            items.append(Delivery("junit", junit, "--junit"))
        if as_json:
            items.append(Delivery("json", None))
        loose = [item for item in items if item.file is None]
        if len(loose) > 1:
            names = ", ".join(item.format for item in loose)
            raise InputError(f"{names}: only one can go to stdout; write the others as --format NAME=FILE")
        if output is not None:
            if not loose or as_json:
                raise InputError("--output: needs one --format without a file of its own")
            items = [item if item.file else Delivery(item.format, output, "--output") for item in items]
        found = cls(tuple(items), tuple((option, file, kind) for option, file, kind in others if file is not None))
        files = [resolved(file) for _, file, _ in found._files()]
        if twice := [file for file in files if files.count(file) > 1]:
            raise InputError(f"{twice[0]}: two formats cannot go into one file")
        for option, path, kind in found._files():
            require_name(option, path, kind)
        return found

    def require_free(self, reads: Iterable[Path]) -> None:
        """Raise OutputError where a file cannot be, is one that the command `reads`, or is there and no earlier report.

        The summary of a GitHub job, which is appended to, is only held against what the command reads.

        `reads`: files, and folders such as bundles; see `require_apart`
        """
        read = tuple(reads)
        for option, file, kind in self._files():
            require_apart(option, file, read)
            require_place(file)
            require_own(option, file, kind)
        summary = summary_file()
        if self._has_summary and summary is not None:
            require_apart(SUMMARY, summary, read)

    def _files(self) -> list[tuple[str, Path, FileKind]]:
        named = [(item.option, item.file, KINDS[item.format]) for item in self.items if item.file is not None]
        return [*self.others, *named]

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
        if self._has_summary:
            append_summary(outcome)

    def write_refusal(self, outcome: Outcome) -> None:
        """Every file that can say why nothing was judged, also of options such as `--junit`; see `write_files`."""
        self.write_files(outcome)
        for option, file, _ in self.others:
            if to_text := FORMATS.get(option.removeprefix("--")):
                with replaced_when_done(file) as path:
                    path.write_text(to_text(outcome), "utf-8")

    @property
    def _has_summary(self) -> bool:
        return any(item.format == "github" for item in self.items)
