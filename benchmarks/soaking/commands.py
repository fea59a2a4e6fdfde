"""Commands of nexus-edge within this process, a hundred times as fast as processes of their own."""

import contextlib
import io
import sys
import traceback
from dataclasses import dataclass
from unittest import mock

from nexus_edge.cli.app import main

FAILED = (2, 3, 4)  # input, parity, checkpoint; 1 is the exit code of a traceback


@dataclass(frozen=True)
class Outcome:
    """How a command ended; `escaped` is the last line of a traceback, where one would have been printed."""

    code: object
    err: str
    escaped: str | None

    @property
    def problem(self) -> str | None:
        """What a user could complain of, whatever the input was: None for done, and for an error of one line."""
        if self.escaped is not None:
            return self.escaped
        lines = self.err.splitlines()
        if "Traceback" in self.err:
            return f"a traceback on stderr: {lines[-1]}"
        errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        if self.code == 0:
            return f"done, and yet {lines[errors[0]]}" if errors else None
        if self.code not in FAILED:
            return f"exit code {self.code}: {lines[-3:]}"
        if errors != [len(lines) - 1]:
            return f"exit code {self.code}, not with one line at its end: {lines[-3:]}"
        return None


def command(*arguments: object) -> Outcome:
    """Run `nexus-edge ARGUMENTS`."""
    out, err, escaped, code = io.StringIO(), io.StringIO(), None, None
    with (
        mock.patch.object(sys, "argv", ["nexus-edge", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = 0 if end.code is None else end.code
        except Exception as error:  # noqa: BLE001  that is what is looked for
            place = traceback.extract_tb(error.__traceback__)[-1]
            escaped = f"{type(error).__name__}: {str(error)[:200]} ({place.filename.split('/')[-1]}:{place.lineno})"
    return Outcome(code, err.getvalue(), escaped)
