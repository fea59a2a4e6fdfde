"""`nexus-edge export`: a checkpoint becomes a bundle."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from nexus_edge.errors import InputError, MissingExtraError
from nexus_edge.recipe import Recipe, find_recipe, read_recipe

if TYPE_CHECKING:
    from nexus_edge.bundle import Manifest
    from nexus_edge.checkpoints import Checkpoint

_PRECISIONS = ("int4", "int8", "fp16", "fp32")


def export(
    model: Annotated[str, typer.Argument(help="phi3-vision or phi3.5-vision.")],
    int4: Annotated[bool, typer.Option("--int4", help="4-bit weights (the default).")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="8-bit weights.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Weights stored as float16.")] = False,
    fp32: Annotated[bool, typer.Option("--fp32", help="Weights stored as float32.")] = False,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|HUB_ID|tiny|synthetic", help="Where the weights come from; default: the published checkpoint."
        ),
    ] = None,
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="Your own recipe instead of --int4 and the like.")
    ] = None,
    target: Annotated[list[str] | None, typer.Option(help="onnx; default: what the recipe says.")] = None,
    out: Annotated[Path | None, typer.Option(help="The bundle's folder; default: out/<recipe>[-<checkpoint>].")] = None,
    parity: Annotated[bool, typer.Option(help="Run the parity ladder and keep its report in the bundle.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and stop.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Export a model: checkpoint to quantized graphs, with a parity report beside them."""
    chosen = [name for name, on in zip(_PRECISIONS, (int4, int8, fp16, fp32), strict=True) if on]
    if len(chosen) > 1 or (chosen and recipe_file):
        raise InputError("give one of --int4, --int8, --fp16, --fp32 and --recipe")
    recipe = read_recipe(recipe_file) if recipe_file else find_recipe(model, chosen[0] if chosen else "int4")
    recipe = recipe.with_targets(target) if target else recipe
    if dry_run:
        typer.echo(json.dumps(recipe.to_json(), indent=2))
        return
    try:
        from nexus_edge.checkpoints import open_checkpoint
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"export needs {error.name}: pip install 'nexus-edge[export]'") from error
    source = open_checkpoint(checkpoint, find_recipe(model, "int4").checkpoint)
    place = out or Path("out") / (recipe.name if checkpoint is None else f"{recipe.name}-{Path(checkpoint).name}")
    manifest = _run(source, recipe, place, force=force, parity=parity, quiet=quiet or as_json)
    size = sum(file.size for file in manifest.files.values())
    if as_json:
        typer.echo(json.dumps(_result(manifest, place, size)))
        return
    verdict = manifest.parity["verdict"] if manifest.parity else "not run"
    typer.echo(f"{place}: {size / 1e6:,.1f} MB, {manifest.source.weights} weights, parity {verdict}")


def _run(source: "Checkpoint", recipe: Recipe, place: Path, *, force: bool, parity: bool, quiet: bool) -> "Manifest":
    try:
        from nexus_edge import pipeline
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"export needs {error.name}: pip install 'nexus-edge[export]'") from error
    columns = (TextColumn("{task.description:<24}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), disable=quiet) as bar:
        tasks: dict[str, Any] = {}

        def show(step: str, share: float) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=1.0)
            bar.update(tasks[step], completed=share)

        return pipeline.export(source, recipe, place, force=force, parity=parity, progress=show)


def _result(manifest: "Manifest", place: Path, size: int) -> dict[str, Any]:
    return {
        "bundle": str(place),
        "bytes": size,
        "weights": manifest.source.weights,
        "revision": manifest.source.revision,
        "parity": manifest.parity,
    }
