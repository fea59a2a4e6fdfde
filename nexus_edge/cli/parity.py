"""`nexus-edge parity`: climb the ladder for a bundle; exit code 3 when a gate fails."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from nexus_edge._extras import needs_extra
from nexus_edge.bundle import Bundle
from nexus_edge.cli.progress import step_bar
from nexus_edge.errors import InputError, ParityError

if TYPE_CHECKING:
    from nexus_edge.parity.report import Report

GB = 1e9


def parity(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="DIR|HUB_ID|tiny|synthetic", help="The original; default: what the bundle was made from."),
    ] = None,
    rungs: Annotated[str | None, typer.Option(metavar="P0,P3", help="Only these rungs; default: all.")] = None,
    goldens: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Goldens of the original implementation, for P1.")
    ] = None,
    max_memory: Annotated[
        float | None, typer.Option(metavar="GB", help="What models may fill; default: half of the memory.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as HTML, with plots.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as Markdown.")] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Keep report, goldens and verdict in the bundle, instead of the export's.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Compare a bundle with its original, rung by rung; exit with 3 if it is not that model any more."""
    # Changed files are P0's finding, so that the report names them; opening checks the manifest only.
    opened = Bundle.open(bundle, check=None)
    with needs_extra("parity"):
        import torch  # noqa: F401  the rungs import it late

        from nexus_edge.parity import certify, ladder, terminal
    if update and rungs:
        raise InputError("--update keeps the verdict of the whole ladder; leave out --rungs")
    chosen = tuple(rungs.upper().split(",")) if rungs else tuple(ladder.RUNGS)
    limit = None if max_memory is None else int(max_memory * GB)
    with step_bar(quiet=quiet or as_json) as progress:
        lab = ladder.make_lab(opened, checkpoint, goldens=goldens, max_memory=limit)
        report = ladder.climb(lab, chosen, progress)
    if update:
        certify.store(lab, report)
        opened.with_parity(report.summary)
    for path, ending in ((junit, ".xml"), (html, ".html"), (markdown, ".md")):
        if path is not None:
            certify.write_file(report, path, ending)
    if as_json:
        typer.echo(report.to_json(), nl=False)
    else:
        Console().print(terminal.table(report))
    require_passed(report, bundle)


def require_passed(report: "Report", bundle: Path) -> None:
    """Raise ParityError, which becomes exit code 3, if a gate failed."""
    if report.verdict == "rejected":
        raise ParityError(f"{bundle}: {report.summary['reason']}")
