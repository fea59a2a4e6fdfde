"""Where a finding stands in a user's repository: CI services show findings beside files, so each needs one."""

import os
from pathlib import Path, PurePosixPath

from nexus_edge.bundle.reader import MANIFEST
from nexus_edge.ci.outcome import Case, Outcome


def place_of(outcome: Outcome, case: Case) -> str:
    """The path of a case's file, relative to the current folder and with forward slashes; absolute where it is outside.

    A bundle is seldom committed; services then show the finding in their lists, without a file beside it.
    """
    path = Path(outcome.folder) / (case.file or MANIFEST)
    relative = os.path.relpath(path) if _same_drive(path) else str(path)
    if relative.startswith(".."):
        return path.resolve().as_posix()
    return PurePosixPath(Path(relative)).as_posix()


def _same_drive(path: Path) -> bool:
    return path.resolve().drive == Path.cwd().drive
