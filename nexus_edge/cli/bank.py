"""`nexus-edge bank`: embed labels once, so that a device needs only the image tower."""

import json
from pathlib import Path
from typing import Annotated

import typer

from nexus_edge._words import counted
from nexus_edge.cli.answers import AllowRejected, Threads
from nexus_edge.cli.bundle_facts import readable
from nexus_edge.cli.progress import count_bar
from nexus_edge.cli.towers import (
    BundleOption,
    Labels,
    LabelsFile,
    Quiet,
    Templates,
    open_model,
    prompts_of,
    split_bundle,
    warnings_said,
)
from nexus_edge.errors import InputError, OutputError


def bank(
    prompts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[BUNDLE] [NAME|FILE.toml]",
            help="A built-in label set or your own file, after a bundle if you name one.",
        ),
    ] = None,
    labels: Labels = None,
    labels_file: LabelsFile = None,
    template: Templates = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="The label bank to write.")] = None,
    ship: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a bundle with only the image tower and this bank.")
    ] = None,
    list_sets: Annotated[bool, typer.Option("--list", help="Print the built-in sets and stop.")] = False,
    bundle: BundleOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing output.")] = False,
    threads: Threads = None,
    allow_rejected: AllowRejected = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Embed labels into a file for `classify --bank`, or into a bundle without a text tower."""
    from nexus_edge._outputs import require_apart, require_name, require_own, require_place
    from nexus_edge.bundle import Bundle
    from nexus_edge.bundle.writer import require_writable
    from nexus_edge.engines.dual import TEXT, has_graph
    from nexus_edge.runtimes.dual_encoder.label_bank import BANK
    from nexus_edge.runtimes.dual_encoder.ship import ship_image_tower

    if list_sets:
        _print_sets(as_json=as_json)
        return
    if out is None and ship is None:
        raise InputError("no output: give -o FILE for a label bank, or --ship DIR for a bundle with it")
    if out is not None:
        require_name("-o", out, BANK)
    for place in (out, ship):
        if place is not None and place.exists() and not force:
            raise OutputError(f"{place}: exists already; use --force to replace it, or choose another path")
    if out is not None:
        require_place(out)
    if ship is not None:
        require_writable(ship, force=force)
    named, rest = split_bundle([Path(word) for word in prompts or ()], bundle)
    if len(rest) > 1:
        raise InputError(f"{rest[1]}: one set of labels makes a bank; leave it out")
    given = prompts_of(labels, labels_file, str(rest[0]) if rest else None, template)
    if given is None:
        raise InputError("no labels: give --labels, --labels-file, or a set; nexus-edge bank --list names those")
    silent = quiet or as_json
    model = open_model(
        named,
        fits=lambda found: has_graph(found, TEXT),
        allow_rejected=allow_rejected,
        threads=threads,
        quiet=silent,
    )
    read = [
        model.root,
        *(word for word in rest if word.suffix == ".toml"),
        *([] if labels_file is None else [labels_file]),
    ]
    if out is not None:
        require_apart("-o", out, read)
        require_own("-o", out, BANK)
    if ship is not None:
        require_apart("--ship", ship, read)
    with warnings_said(), count_bar("prompts", quiet=silent) as progress:
        made = model.label_bank(given, progress=progress)
    written: dict[str, int] = {}
    if out is not None:
        made.save(out)
        written[str(out)] = out.stat().st_size
    if ship is not None:
        shipped = ship_image_tower(Bundle.open(model.root), made, ship, force=force)
        written[str(ship)] = sum(file.size for file in shipped.manifest.files.values())
    if as_json:
        facts = {"model": model.name, "weights": model.weights, "labels": made.labels, "templates": given.templates}
        typer.echo(json.dumps({**facts, "bytes": written}))
        return
    for place_name, size in written.items():
        typer.echo(f"{place_name}: {counted(len(made.labels), 'label')}, {readable(size)}")


def _print_sets(*, as_json: bool) -> None:
    from nexus_edge.runtimes.dual_encoder.prompts import built_in_sets, find_prompts

    sets = {name: find_prompts(name) for name in built_in_sets()}
    if as_json:
        facts = {
            name: {"title": one.title, "source": one.source, "labels": one.labels, "templates": one.templates}
            for name, one in sets.items()
        }
        typer.echo(json.dumps(facts))
        return
    for name, one in sets.items():
        typer.echo(f"{name}: {one.title}\n    labels     {', '.join(one.labels)}")
        typer.echo(f"    templates  {', '.join(one.templates)}\n    source     {one.source}")
