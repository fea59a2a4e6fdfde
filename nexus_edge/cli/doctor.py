"""`nexus-edge doctor`: check the installation, and say what is missing."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from nexus_edge.cli.answers import say
from nexus_edge.cli.bundle_facts import readable

if TYPE_CHECKING:
    from nexus_edge.cli.checkup import Checkup


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False) -> None:
    """Check the installation: versions, processor, engines, extras, folders, memory and disk; exit with 2 on a problem.

    A missing extra is not a problem: the command that installs it is printed.
    """
    from nexus_edge.cli.checkup import examine

    found = examine()
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        for name, value in _rows(found):
            typer.echo(f"{name:<11} {value}")
        for problem in found.problems:
            say(f"problem: {problem}", style="red")
        if not found.problems:
            typer.echo("no problems found")
    if found.problems:
        raise typer.Exit(2)


def _rows(found: "Checkup") -> list[tuple[str, str]]:
    memory = "unknown here" if found.memory_bytes is None else readable(found.memory_bytes)
    free = "" if found.memory_free_bytes is None else f", {readable(found.memory_free_bytes)} free"
    rows = [
        ("nexus-edge", found.versions["nexus-edge"]),
        ("Python", found.versions["python"]),
        ("system", found.system),
        ("processor", found.processor),
        ("features", ", ".join(found.features) or "unknown here"),
        ("memory", memory + free),
    ]
    rows += [("engine", f"{engine.name}: {engine.state}") for engine in found.engines]
    for extra in found.extras:
        state = "installed" if not extra.missing else f"missing {', '.join(extra.missing)}: {extra.install}"
        rows.append(("extra", f"{extra.name}: {state}"))
    rows += [("folder", f"{place.name}: {place.path}, {readable(place.free_bytes)} free") for place in found.places]
    return rows
