"""`nexus-edge verify`: replay a bundle's goldens on this device, without torch; exit code 3 on drift."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nexus_edge.bundle import Bundle
from nexus_edge.cli.parity import require_passed
from nexus_edge.errors import ParityError


def verify(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check every file's hash, then replay the stored goldens here; exit with 2 or 3 if one or the other differs."""
    from nexus_edge.parity import terminal
    from nexus_edge.parity.replay import replay

    opened = Bundle.open(bundle, check="sha256")
    report = replay(opened)
    if as_json:
        typer.echo(report.to_json(), nl=False)
    else:
        Console().print(terminal.table(report))
    require_passed(report, bundle)
    recorded = opened.manifest.parity or {}
    if recorded.get("verdict") == "rejected":
        raise ParityError(f"{bundle}: runs here as exported, but the export was rejected: {recorded.get('reason')}")
