"""`nexus-edge verify`: replay a bundle's goldens on this device, without torch; exit code 3 on drift."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nexus_edge.bundle import Bundle
from nexus_edge.cli.parity import require_passed
from nexus_edge.targets import TARGETS


def verify(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(TARGETS), help="Only this one; repeat it for several. Default: all of the bundle."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check every file's hash, then replay the stored goldens here.

    Exit code 0 says that every target was replayed and held; 2 a changed file; 3 a value that drifted, a target that
    cannot run here (--target names those that matter), or an export that was rejected.
    """
    from nexus_edge.parity import terminal
    from nexus_edge.parity.replay import replay

    opened = Bundle.open(bundle, check="sha256")
    report = replay(opened, target or ())
    if as_json:
        typer.echo(report.to_json(), nl=False)
    else:
        Console().print(terminal.table(report))
    require_passed(report, bundle, "--target names the targets that matter")
