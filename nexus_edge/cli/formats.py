"""`--format` and `--output`, which `parity`, `verify` and `compare` share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus_edge.errors import BundleError, CheckpointError, ParityError

if TYPE_CHECKING:
    from nexus_edge.ci.formats import Deliveries
    from nexus_edge.ci.outcome import Outcome

Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="NAME[=FILE]",
        help="github, gitlab, sarif, junit, markdown or json, to stdout or a file; can be repeated.",
    ),
]
Output = Annotated[Path | None, typer.Option(metavar="FILE", help="File for the one --format that names none.")]


def deliver(outcome: "Outcome", deliveries: "Deliveries", print_table: Callable[[], None]) -> None:
    """Write every file; on stdout the format that was asked for, else the table. Annotations stand under the table."""
    deliveries.write_files(outcome)
    chosen = deliveries.for_stdout
    if chosen is None or chosen.format == "github":
        print_table()
    if chosen is not None:
        typer.echo(chosen.text(outcome), nl=False)


@contextmanager
def refusals(tool: str, bundle: Path, deliveries: "Deliveries") -> Iterator[None]:
    """Inside, what the bundle, its checkpoint or its verdict is refused for goes into the reports too.

    Stdout gets no JSON here: `--json` prints every error as an object of its own.
    """
    try:
        yield
    except (BundleError, CheckpointError, ParityError) as error:
        from nexus_edge.ci.refusal import refusal

        outcome, chosen = refusal(tool, bundle, error), deliveries.for_stdout
        deliveries.write_refusal(outcome)
        if chosen is not None and chosen.format != "json":
            typer.echo(chosen.text(outcome), nl=False)
        raise
