"""`nexus-edge tune`: find the fastest engine and settings on this machine."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nexus_edge.bundle import Bundle
from nexus_edge.cli.answers import AllowRejected

if TYPE_CHECKING:
    from nexus_edge.runtimes.tuning import Candidate


def tune(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    threads: Annotated[int | None, typer.Option(min=1, help="Number of threads, as for the other commands.")] = None,
    allow_rejected: AllowRejected = False,
    forget: Annotated[bool, typer.Option("--forget", help="Go back to the defaults.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON.")] = False,
) -> None:
    """Measure a bundle with each engine and setting on this machine; the result is kept in the user's cache folder.

    What counts is what a user waits for: a conversation about one image (its encoder once, a prompt of its tokens, four
    questions of 64 tokens with answers of 128), or 4 images and 4 texts to embed. OpenVINO computes in bfloat16 only
    where its plugin lists it.
    """
    from nexus_edge.runtimes.tuned import cache_file, remember

    opened = Bundle.open(bundle, allow_rejected=allow_rejected)
    if forget:
        remember(opened, threads, None)
        typer.echo(f"{bundle}: runs with the defaults again")
        return
    from nexus_edge.runtimes.tuning import candidates, fastest

    found = []
    for candidate in candidates(opened, threads):
        found.append(candidate)
        if not as_json:
            typer.echo(_line(candidate))
    best = fastest(found)
    remember(opened, threads, best)
    if as_json:
        typer.echo(json.dumps({"best": asdict(best), "measured": [_json(candidate) for candidate in found]}))
    else:
        typer.echo(f"fastest: {best.engine}; kept in {cache_file()}, --forget undoes it")


def _line(candidate: "Candidate") -> str:
    """What a user waits for, in all and in parts, and with what."""
    parts = ", ".join(f"{part.name} {part.seconds:.2f}" for part in candidate.parts)
    settings = candidate.openvino
    text = "" if settings is None else f" {settings.precision}, inputs in groups of {settings.quantization_group}"
    text += "" if settings is None else f", cache {settings.cache}"
    return f"{candidate.seconds:8.2f} s  ({parts})  {candidate.engine}{text}"


def _json(candidate: "Candidate") -> dict[str, Any]:
    parts = {part.name: part.seconds for part in candidate.parts}
    return {**asdict(candidate), "seconds": candidate.seconds, "parts": parts}
