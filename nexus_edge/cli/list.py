"""`nexus-edge list`: list bundles, the recipes that can be exported, and the built-in label sets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from nexus_edge._resources import recipe_names
from nexus_edge.cli.answers import say
from nexus_edge.cli.bundle_facts import BundleFacts, readable
from nexus_edge.cli.towers import printable
from nexus_edge.errors import BundleError, InputError


def list(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Folder with bundles; default: out."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """List bundles with size and verdict, the models and recipes that can be exported, and the built-in label sets."""
    from nexus_edge.pipeline.request import OUT
    from nexus_edge.runtimes.dual_encoder.prompts import built_in_sets

    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name one with bundles")
    place = folder or OUT
    bundles, broken = _bundles(place)
    models = recipe_names()
    if as_json:
        found = {
            "bundles": [facts.to_json() for facts in bundles],
            "broken": [{"folder": str(path), "reason": reason} for path, reason in broken],
            "models": models,
            "label_sets": [*built_in_sets()],
        }
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    typer.echo(f"bundles in {printable(place)}:" if bundles else f"no bundles in {printable(place)}")
    names = [printable(facts.folder) for facts in bundles]
    for name, facts in zip(names, bundles, strict=True):
        typer.echo(
            f"  {name:<{max(map(len, names))}}  {readable(facts.bytes):>9}  parity {facts.verdict}, "
            f"{', '.join(facts.targets)}, {facts.weights} weights"
        )
    for _, reason in broken:
        say(f"no bundle: {reason}", style="yellow")
    typer.echo("can be exported (nexus-edge export MODEL --RECIPE):")
    for model, recipes in models.items():
        typer.echo(f"  {model:<{max(map(len, models))}}  {', '.join(recipes)}")
    typer.echo(f"label sets (nexus-edge bank --list): {', '.join(built_in_sets())}")


def _bundles(place: Path) -> tuple[Sequence[BundleFacts], Sequence[tuple[Path, str]]]:
    """The bundles in a folder, or the one that it is; and what looks like one, with the reason why it is none."""
    from nexus_edge.bundle import Bundle
    from nexus_edge.bundle.reader import MANIFEST

    folders = [place] if (place / MANIFEST).is_file() else sorted(path.parent for path in place.glob(f"*/{MANIFEST}"))
    found, broken = [], []
    for path in folders:
        try:
            found.append(BundleFacts.of(Bundle.open(path)))
        except BundleError as error:
            broken.append((path, str(error)))
    return found, broken
