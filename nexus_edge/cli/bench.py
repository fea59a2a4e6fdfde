"""`nexus-edge bench`: measure a bundle's speed and memory on this machine."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nexus_edge.cli import bench_dual
from nexus_edge.cli.answers import AllowRejected, BundleFolder, Device, Engine, Images, Quiet, Threads, say
from nexus_edge.errors import InputError

if TYPE_CHECKING:
    from nexus_edge.bundle import Bundle
    from nexus_edge.runtimes import EngineOptions
    from nexus_edge.runtimes.vlm.benchmark import Measurement


def bench(
    bundle: BundleFolder,
    prompt_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Prompt length with images; default: 512, or what the images need. For a dual encoder's texts: 32.",
        ),
    ] = None,
    new_tokens: Annotated[int, typer.Option(metavar="N", help="Tokens to generate; none for a dual encoder.")] = 64,
    image: Images = None,
    runs: Annotated[int, typer.Option(metavar="N", help="Number of runs; the median counts.")] = 3,
    threads: Threads = None,
    engine: Engine = None,
    device: Device = "CPU",
    allow_rejected: AllowRejected = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers, run by run, as JSON.")] = False,
) -> None:
    """Measure load time, speed and peak memory, of answers or of a dual encoder's two towers."""
    from nexus_edge.bundle import Bundle
    from nexus_edge.runtimes import EngineOptions

    if runs < 1:
        raise InputError(f"runs is {runs}; it must be 1 or more")
    opened, images, silent = Bundle.open(bundle, allow_rejected=allow_rejected), [*(image or ())], quiet or as_json
    options = EngineOptions(threads, engine=engine, device=device)
    if opened.manifest.dual_encoder is not None:
        result = bench_dual.measure_towers(
            opened, text_tokens=prompt_tokens, images=images, runs=runs, options=options, quiet=silent
        )
        print_table = bench_dual.print_table
    else:
        result = _measure_answers(opened, prompt_tokens, new_tokens, images, runs, options, quiet=silent)
        print_table = _print_table
    if as_json:
        typer.echo(json.dumps(result))
    else:
        print_table(result)


def _measure_answers(
    opened: "Bundle",
    prompt_tokens: int | None,
    new_tokens: int,
    images: list[Path],
    runs: int,
    options: "EngineOptions",
    *,
    quiet: bool,
) -> dict[str, Any]:
    import time

    from nexus_edge.runtimes import load_vlm
    from nexus_edge.runtimes.machine import machine, peak_rss_bytes
    from nexus_edge.runtimes.vlm.benchmark import default_prompt_tokens, measure

    started = time.perf_counter()
    vlm = load_vlm(opened, options)
    load_s = time.perf_counter() - started
    length = prompt_tokens or default_prompt_tokens(vlm, images)
    measured = []
    for index in range(runs):
        if not quiet:
            say(f"run {index + 1} of {runs}: {length} prompt tokens, {new_tokens} new")
        measured.append(measure(vlm, length, new_tokens, images))
    return {
        "model": opened.manifest.name,
        "weights": opened.manifest.source.weights,
        "machine": machine(),
        "engine": options.engine,
        "device": options.device,
        "threads": options.threads,
        "pictures": len(images),
        "prompt_tokens": length,
        "new_tokens": new_tokens,
        "runs": runs,
        "load_s": load_s,
        **{name: median(values) for name, values in _columns(measured).items()},
        "peak_rss_bytes": peak_rss_bytes(),
        "each_run": _columns(measured),
    }


def _columns(measured: "list[Measurement]") -> dict[str, list[float]]:
    return {
        "vision_s": [run.vision_s for run in measured],
        "first_token_s": [run.first_token_s for run in measured],
        "prefill_tokens_per_s": [run.prefill_tokens_per_s for run in measured],
        "decode_tokens_per_s": [run.decode_tokens_per_s for run in measured],
    }


def _print_table(result: Mapping[str, Any]) -> None:
    from nexus_edge.cli.console import console

    peak, table = result["peak_rss_bytes"], bench_dual.empty_table(result)
    for name, key, unit, digits in (
        ("load", "load_s", "s", 2),
        ("vision encoder", "vision_s", "s", 2),
        (f"first token ({result['prompt_tokens']} prompt tokens)", "first_token_s", "s", 2),
        ("prefill", "prefill_tokens_per_s", "tokens/s", 1),
        (f"decode ({result['new_tokens']} new tokens)", "decode_tokens_per_s", "tokens/s", 1),
    ):
        table.add_row(name, f"{result[key]:.{digits}f} {unit}")
    table.add_row("peak memory", f"{peak / 1e9:.2f} GB" if isinstance(peak, int) else "unknown here")
    console().print(table)
