"""`nexus-edge search`: find the images in an index that match a text or an image."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus_edge.cli.answers import AllowRejected, Device, Engine, Threads, say
from nexus_edge.cli.towers import BundleOption, Quiet, open_model, printable, split_bundle, warnings_said
from nexus_edge.errors import InputError

if TYPE_CHECKING:
    from nexus_edge.bundle import Bundle
    from nexus_edge.runtimes import ImageIndex


def search(
    index: Annotated[Path, typer.Option("--index", metavar="FILE.safetensors", help="An index from nexus-edge embed.")],
    query: Annotated[
        list[str] | None,
        typer.Argument(metavar='[BUNDLE] ["TEXT"]', help="Text to search for, after a bundle if you name one."),
    ] = None,
    image: Annotated[
        Path | None, typer.Option("--image", "-i", metavar="FILE", help="Search for images similar to this one.")
    ] = None,
    top_k: Annotated[int, typer.Option(metavar="N", help="Hits to print.")] = 10,
    sheet: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write a contact sheet of the hits.")] = None,
    bundle: BundleOption = None,
    threads: Threads = None,
    engine: Engine = None,
    device: Device = "CPU",
    allow_rejected: AllowRejected = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the hits as JSON.")] = False,
) -> None:
    """Print the images in an index that match best, with their cosines."""
    from nexus_edge._outputs import require_apart, require_name, require_own, require_place
    from nexus_edge.runtimes import ImageIndex
    from nexus_edge.runtimes.dual_encoder.index.image_index import from_index
    from nexus_edge.runtimes.dual_encoder.index.sheet import SHEET, write_sheet

    named, rest = split_bundle([Path(word) for word in query or ()], bundle)
    words = list(query or ())[-len(rest) :] if rest else []  # Path would change a text
    if len(words) + (image is not None) != 1:
        raise InputError("give one text in quotes to look for, or one image with --image")
    if image is None and not words[0].strip():
        raise InputError("the text to look for is empty; give a word at least")
    if sheet is not None:
        require_name("--sheet", sheet, SHEET)
        require_place(sheet)
    opened = ImageIndex.load(index)
    silent = quiet or as_json
    model = open_model(
        named,
        fits=lambda found: _fits(found, opened, needs_text=image is None),
        noted=from_index(opened.bundle, index),
        allow_rejected=allow_rejected,
        threads=threads,
        engine=engine,
        device=device,
        quiet=silent,
    )
    if sheet is not None:
        # What is not there yet is none of the images, of which there may be a million.
        images = [from_index(name, index) for name in opened.paths] if sheet.exists() else []
        require_apart("--sheet", sheet, [index, model.root, *([] if image is None else [image]), *images])
        require_own("--sheet", sheet, SHEET)
    with warnings_said():
        hits = model.search(image if image is not None else words[0], opened, top_k)
    if sheet is not None:
        write_sheet(hits, index, sheet)
    paths = [from_index(hit.path, index) for hit in hits]
    if as_json:
        found = [{"path": str(path), "score": hit.score} for path, hit in zip(paths, hits, strict=True)]
        asked = {"image": str(image)} if image is not None else {"text": words[0]}
        source = {"index": str(index), "model": model.name, "weights": model.weights}
        typer.echo(json.dumps({**asked, **source, "hits": found}))
        return
    for path, hit in zip(paths, hits, strict=True):
        typer.echo(f"{hit.score:6.3f}  {printable(path)}")
    if sheet is not None and not quiet:
        say(f"{sheet}: the hits as an image")


def _fits(bundle: "Bundle", index: "ImageIndex", *, needs_text: bool) -> bool:
    from nexus_edge.engines.dual import TEXT, has_graph

    info = bundle.manifest.dual_encoder
    return info is not None and info.image_tower == index.image_tower and (has_graph(bundle, TEXT) or not needs_text)
