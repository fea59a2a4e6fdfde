"""`nexus-edge verify`: replay a bundle's goldens on this device, without PyTorch; exit code 3 on drift."""

from pathlib import Path
from typing import Annotated

import typer

from nexus_edge._extras import needs_extra
from nexus_edge.axes import targets
from nexus_edge.bundle import Bundle
from nexus_edge.cli.console import console
from nexus_edge.cli.formats import Formats, Output, deliver, refusals
from nexus_edge.cli.parity import require_passed


def verify(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(targets()), help="Replay only this target; can be repeated. Default: all in the bundle."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write HTML; needs the extra `export`.")] = None,
    formats: Formats = None,
    output: Output = None,
) -> None:
    """Check every file's hash, then replay the stored goldens here.

    Exit code 0 says that every target was replayed and held; 2 a changed file; 3 a value that drifted, a target that
    cannot run here (--target names those that matter), or an export that was rejected.
    """
    from nexus_edge.ci.formats import Deliveries
    from nexus_edge.ci.from_report import outcome_of
    from nexus_edge.ci.marks import KINDS
    from nexus_edge.parity.replay import replay
    from nexus_edge.parity.report import terminal

    others = [("--html", html, KINDS["html"])]
    deliveries = Deliveries.parse(formats or (), output, as_json=as_json, junit=junit, others=others)
    if html is not None:
        with needs_extra("verify --html"):
            import jinja2  # noqa: F401
            import matplotlib  # noqa: F401
    deliveries.require_free([bundle])
    with refusals("verify", bundle, deliveries):
        report = replay(Bundle.open(bundle, check="sha256"), target or ())
    if html is not None:
        from nexus_edge.parity.certify import write_file

        write_file(report, html, ".html")
    deliver(outcome_of(report, str(bundle), "verify"), deliveries, lambda: console().print(terminal.table(report)))
    require_passed(report, bundle, "--target names the targets that matter")
