"""`nexus-edge embed`: embed images into an index for search."""

import json
import time
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
    Quiet,
    open_model,
    report_left_out,
    report_skipped,
    split_bundle,
)

if TYPE_CHECKING:
    from nexus_edge.runtimes import DualEncoder
    from nexus_edge.runtimes.dual_encoder.index import Built, LeftOut


def embed(
    images: Images,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.safetensors", help="The index to make or to update.")
    ],
    bundle: BundleOption = None,
    float16: Annotated[
        bool, typer.Option("--float16", help="Store float16: half the size; cosines change by less than 0.001.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Discard what is in the index.")] = False,
    batch_size: BatchSize = 16,
    threads: Threads = None,
    engine: Engine = None,
    device: Device = "CPU",
    allow_rejected: AllowRejected = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Embed images into an index. Images that are in it already and unchanged are skipped.

    Interrupted, it keeps what it has done in FILE.safetensors.partial, and takes it from there when run again. Images
    that cannot be read are skipped, and the exit code is 2.
    """
    import numpy as np

    from nexus_edge._outputs import require_apart, require_name, require_own, require_place
    from nexus_edge.runtimes.dual_encoder.index import INDEX, ImageIndex, build_index, scan

    require_name("-o", out, INDEX)
    require_place(out)
    named, places = split_bundle(images, bundle)
    scanned = scan(places)
    files = scanned.images
    report_left_out(scanned, quiet=quiet)
    before = ImageIndex.load(out) if out.exists() and not force else None
    silent = quiet or as_json
    model = open_model(
        named,
        fits=lambda found: (
            before is None
            or (
                found.manifest.dual_encoder is not None
                and found.manifest.dual_encoder.image_tower == before.image_tower
            )
        ),
        allow_rejected=allow_rejected,
        threads=threads,
        engine=engine,
        device=device,
        quiet=silent,
    )
    require_apart("-o", out, [model.root, *(files if out.exists() else ())])
    require_own("-o", out, INDEX)
    started, dtype = time.perf_counter(), np.float16 if float16 else np.float32
    try:
        with count_bar("images", quiet=silent) as progress:
            built = build_index(model, files, out, fresh=force, dtype=dtype, batch_size=batch_size, progress=progress)
    except KeyboardInterrupt:
        if not quiet:
            say(f"{out}.partial keeps what is done; the same command goes on from there")
        raise
    seconds = time.perf_counter() - started
    _print_result(model, built, scanned.left_out, out, seconds, as_json=as_json, quiet=quiet)
    report_skipped(built.skipped, len(files), f", the others are in {out}", quiet=silent)


def _print_result(
    model: "DualEncoder",
    built: "Built",
    left_out: "list[LeftOut]",
    out: Path,
    seconds: float,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    if as_json:
        counts = {name: getattr(built, name) for name in ("embedded", "unchanged", "kept", "gone")}
        result = {
            "index": str(out),
            "model": model.name,
            "weights": model.weights,
            "pictures": len(built.index),
            "dim": built.index.embeddings.shape[1],
            **counts,
            "skipped": [{"path": str(item.path), "reason": item.reason} for item in built.skipped],
            "left_out": [{"path": str(item.path), "reason": item.reason} for item in left_out],
            "seconds": seconds,
        }
        typer.echo(json.dumps(result))
        return
    parts = [
        f"{count} {what}"
        for count, what in (
            (built.embedded, "new or changed"),
            (built.unchanged, "unchanged"),
            (built.kept, "from before"),
            (built.gone, "gone"),
            (len(built.skipped), "skipped"),
        )
        if count
    ]
    entries, numbers = counted(len(built.index), "image"), built.index.embeddings.shape[1]
    typer.echo(f"{out}: {entries} ({', '.join(parts)}), {numbers} numbers each")
    if built.embedded and not quiet:
        say(f"{built.embedded / seconds:.1f} images/s")
