"""`nexus-edge export`: export a checkpoint as a bundle."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, get_args

import typer

from nexus_edge._extras import needs_extra
from nexus_edge._resources import recipe_names
from nexus_edge.axes import targets
from nexus_edge.cli.progress import step_bar
from nexus_edge.configs.keys import OPTION
from nexus_edge.errors import BundleError, InputError, ParityError
from nexus_edge.pipeline.request import ExportRequest, WeightFormat


def export(
    model: Annotated[str, typer.Argument(help=f"One of {', '.join(recipe_names())}.")],
    int4: Annotated[bool, typer.Option("--int4", help="4-bit weights (the default).")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="8-bit weights.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Weights stored as float16.")] = False,
    fp32: Annotated[bool, typer.Option("--fp32", help="Weights stored as float32.")] = False,
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="DIR|HUB_ID|tiny|synthetic", help="Where the weights come from; default: the recipe's."),
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A LoRA adapter saved by PEFT, merged into the checkpoint."),
    ] = None,
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="Your own recipe instead of --int4 and the like.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="|".join(targets()), help="Can be repeated; default: the recipe's, onnx."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Texts and images to calibrate on, one per line: text, image."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Output folder; default: out/RECIPE[-CHECKPOINT][-ADAPTER]."),
    ] = None,
    parity: Annotated[bool, typer.Option(help="Run the parity ladder and keep its report in the bundle.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Run all checks, print the plan with sizes, and stop.")
    ] = False,
    ignored: Annotated[
        list[str] | None,
        typer.Option(OPTION, metavar="KEY", help="Ignore a configuration key that changes nothing; can be repeated."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print one line: no progress, no table.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Export a checkpoint as quantized graphs, with a parity report."""
    chosen = [name for name, on in zip(get_args(WeightFormat), (int4, int8, fp16, fp32), strict=True) if on]
    if len(chosen) > 1 or (chosen and recipe_file):
        raise InputError("give only one of --int4, --int8, --fp16, --fp32 and --recipe")
    request = ExportRequest.resolve(
        model,
        chosen[0] if chosen else "int4",
        checkpoint=checkpoint,
        adapter=adapter,
        recipe_file=recipe_file,
        targets=target or (),
        out=out,
        ignored_keys=ignored or (),
    )
    if dry_run:
        _print_preview(request, calibration, force=force, as_json=as_json)
        return
    try:
        with step_bar(quiet=quiet or as_json) as progress:
            request.run(force=force, parity=parity, calibration=calibration, progress=progress)
    except ParityError:
        with suppress(BundleError):  # the error is what counts, if there is not a bundle to tell more
            _print_result(request.out, as_json=as_json, quiet=quiet)
        raise
    _print_result(request.out, as_json=as_json, quiet=quiet)


def _print_preview(request: ExportRequest, calibration: Path | None, *, force: bool, as_json: bool) -> None:
    with needs_extra("export"):
        from nexus_edge.pipeline.preview import preview
    found = preview(request, force=force, calibration=calibration)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
        return
    origin, recipe = found.checkpoint, request.recipe
    at = f" at {origin.revision}" if origin.revision else ""
    types = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in origin.dtypes.items())
    typer.echo(f"recipe      {recipe.name}: {recipe.description}")
    for name, graph in recipe.graphs.items():
        others = "".join(f", {pattern}: {scheme}" for pattern, scheme in graph.overrides.items())
        typer.echo(f"            {name}: {graph.scheme}{others}")
    typer.echo(f"checkpoint  {origin.place}{at}: {origin.format}, {types}")
    if found.adapter is not None:
        typer.echo(f"adapter     {found.adapter}, merged into it")
    typer.echo(f"licence     {found.license or 'none stated'}")
    if found.ignored_keys:
        typer.echo(f"left out    {', '.join(found.ignored_keys)}")
    for target, graphs in found.sizes.items():
        typer.echo(f"{target:<12}" + ", ".join(f"{graph} {size / 1e6:,.1f} MB" for graph, size in graphs.items()))
    typer.echo(
        f"bundle      {found.out}: about {found.total / 1e6:,.1f} MB; the disk has {found.disk_free / 1e9:,.1f} GB free"
    )
    typer.echo(f"memory      about {found.peak_memory / 1e9:.1f} GB at its peak, without the parity ladder")


def _print_result(place: Path, *, as_json: bool, quiet: bool) -> None:
    from nexus_edge.bundle import Bundle

    bundle = Bundle.open(place, check=None)
    manifest = bundle.manifest
    size = sum(file.size for file in manifest.files.values())
    if as_json:
        source = {"weights": manifest.source.weights, "revision": manifest.source.revision}
        result = {"bundle": str(place), "targets": manifest.targets, "bytes": size, **source, "parity": manifest.parity}
        typer.echo(json.dumps(result))
        return
    if manifest.parity and not quiet:
        _print_ladder(bundle.file("parity/report.json"))
    verdict = manifest.parity["verdict"] if manifest.parity else "not run"
    typer.echo(f"{place}: {size / 1e6:,.1f} MB, {manifest.source.label} weights, parity {verdict}")


def _print_ladder(path: Path) -> None:
    from nexus_edge.cli.console import console
    from nexus_edge.parity.report import terminal
    from nexus_edge.parity.report.report import from_json

    console().print(terminal.table(from_json(path.read_text("utf-8"))))
