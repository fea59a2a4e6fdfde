"""`nexus-edge classify`: zero-shot classification of images."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus_edge._words import counted
from nexus_edge.cli.answers import AllowRejected, Device, Engine, Threads, say
from nexus_edge.cli.progress import count_bar
from nexus_edge.cli.towers import (
    BatchSize,
    BundleOption,
    Images,
    Labels,
    LabelsFile,
    Quiet,
    Templates,
    is_file,
    open_model,
    printable,
    prompts_of,
    report_left_out,
    report_skipped,
    split_bundle,
    warnings_said,
)
from nexus_edge.errors import ImageError, InputError

if TYPE_CHECKING:
    from nexus_edge.bundle import Bundle
    from nexus_edge.runtimes import Classification, DualEncoder, LabelBank, PromptSet
    from nexus_edge.runtimes.dual_encoder.index import LeftOut, Skipped


def classify(
    images: Images,
    labels: Labels = None,
    labels_file: LabelsFile = None,
    bank: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME", help="A file made by nexus-edge bank, or a built-in set (nexus-edge bank --list)."
        ),
    ] = None,
    template: Templates = None,
    top_k: Annotated[int, typer.Option(metavar="N", help="Labels to print for each image.")] = 3,
    bundle: BundleOption = None,
    batch_size: BatchSize = 16,
    threads: Threads = None,
    engine: Engine = None,
    device: Device = "CPU",
    allow_rejected: AllowRejected = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every image's labels as JSON at the end.")] = False,
) -> None:
    """Classify images by labels, without training. The exit code is 2 if some images cannot be read."""
    from nexus_edge.runtimes.dual_encoder import index

    if top_k < 1:
        raise InputError(f"top-k is {top_k}; it must be 1 or more")
    named, places = split_bundle(images, bundle)
    given = _given(labels, labels_file, bank, template)
    scanned = index.scan(places)
    files = scanned.images
    report_left_out(scanned, quiet=quiet)
    silent = quiet or as_json
    model = open_model(
        named,
        fits=lambda found: _fits(found, given),
        allow_rejected=allow_rejected,
        threads=threads,
        engine=engine,
        device=device,
        quiet=silent,
    )
    made = _bank(model, given, quiet=silent)
    results: list[tuple[Path, Classification]] = []
    skipped: list[Skipped] = []
    # Where results run down the terminal, they are the progress.
    with count_bar("images", quiet=quiet or (sys.stdout.isatty() and not as_json)) as progress:
        for batch in model.stream_images(files, batch_size):
            for result in batch:
                path = files[len(results) + len(skipped)]
                if isinstance(result, ImageError):
                    skipped.append(index.Skipped(path, str(result)))
                    continue
                results.append((path, model.compare(result, made)))
                if not as_json:
                    typer.echo(_line(*results[-1], top_k))
            progress(len(results) + len(skipped), len(files))
    if as_json:
        typer.echo(_json(model, made, results, skipped, scanned.left_out, top_k))
    elif not quiet and len(results) > 1:
        counts = Counter(result.best for _, result in results)
        say(
            f"{counted(len(results), 'image')}: "
            + ", ".join(f"{count} {label}" for label, count in counts.most_common(10))
        )
    report_skipped(skipped, len(files), "", quiet=silent)


def _given(
    labels: str | None, labels_file: Path | None, bank: str | None, template: list[str] | None
) -> "LabelBank | PromptSet | None":
    from nexus_edge.runtimes import LabelBank

    if bank is None or Path(bank).suffix == ".toml" or not is_file(Path(bank)):
        return prompts_of(labels, labels_file, bank, template)
    if labels is not None or labels_file is not None or template:
        raise InputError("a label bank has its labels and templates in it; leave out the others")
    return LabelBank.load(Path(bank))


def _fits(bundle: "Bundle", given: "LabelBank | PromptSet | None") -> bool:
    """Whether a bundle can do what is asked: it made the bank, or has a text tower for labels, or a bank of its own."""
    from nexus_edge.engines.dual import TEXT, has_graph
    from nexus_edge.runtimes import LabelBank
    from nexus_edge.runtimes.dual_encoder.label_bank import BUNDLED

    if given is None:
        return BUNDLED in bundle.manifest.files
    if isinstance(given, LabelBank):
        return bundle.manifest.dual_encoder is not None and bundle.manifest.dual_encoder.text_tower == given.text_tower
    return has_graph(bundle, TEXT)


def _bank(model: "DualEncoder", given: "LabelBank | PromptSet | None", *, quiet: bool) -> "LabelBank":
    """The given bank, the given labels embedded, or the bank in the bundle."""
    from nexus_edge.runtimes import LabelBank
    from nexus_edge.runtimes.dual_encoder.prompts import built_in_sets

    if isinstance(given, LabelBank):
        given.check(model.info, str(model.root))
        return given
    if given is not None:
        with warnings_said(), count_bar("labels", quiet=quiet) as progress:
            return model.label_bank(given, progress=progress)
    if model.bundled_bank is None:
        built_in = ", ".join(built_in_sets())
        raise InputError(f"no labels: give --labels, --labels-file, or --bank with a file or one of {built_in}")
    model.bundled_bank.check(model.info, str(model.root))
    return model.bundled_bank


def _line(path: Path, result: "Classification", top_k: int) -> str:
    return f"{printable(path)}: " + ", ".join(f"{printable(label)} {share:.1%}" for label, share in result.top(top_k))


def _json(
    model: "DualEncoder",
    bank: "LabelBank",
    results: "list[tuple[Path, Classification]]",
    skipped: "list[Skipped]",
    left_out: "list[LeftOut]",
    top_k: int,
) -> str:
    return json.dumps(
        {
            "model": model.name,
            "weights": model.weights,
            "labels": len(bank.labels),
            "templates": bank.prompts.templates,
            "pictures": [
                {
                    "path": str(path),
                    "labels": [{"label": label, "probability": share} for label, share in result.top(top_k)],
                }
                for path, result in results
            ],
            "skipped": [{"path": str(item.path), "reason": item.reason} for item in skipped],
            "left_out": [{"path": str(item.path), "reason": item.reason} for item in left_out],
        }
    )
