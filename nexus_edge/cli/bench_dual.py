"""What `nexus-edge bench` does with the bundle of a dual encoder."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from nexus_edge._words import counted
from nexus_edge.cli.answers import runs_said, say

if TYPE_CHECKING:
    from rich.table import Table

    from nexus_edge.bundle import Bundle
    from nexus_edge.processing.images import ImageInput
    from nexus_edge.runtimes import EngineOptions


def measure_towers(
    bundle: "Bundle", *, text_tokens: int | None, images: list[Path], runs: int, options: "EngineOptions", quiet: bool
) -> dict[str, Any]:
    """Everything that is measured, for people and for JSON; raises InputError."""
    from nexus_edge.engines.dual import TEXT, has_graph
    from nexus_edge.runtimes import load_dual_encoder
    from nexus_edge.runtimes.dual_encoder import benchmark as dual_benchmark
    from nexus_edge.runtimes.machine import machine, peak_rss_bytes

    model = load_dual_encoder(bundle, options)
    tokens = dual_benchmark.TEXT_TOKENS if text_tokens is None else text_tokens
    given: list[ImageInput] = [*images] or [dual_benchmark.sample_image()]
    side = model.processor.image_size
    result: dict[str, Any] = {
        "model": model.name,
        "weights": model.weights,
        "machine": machine(),
        "engine": options.engine,
        "device": options.device,
        "threads": options.threads,
        "runs": runs,
        "pictures": [str(path) for path in images] or "a JPEG of 1024 x 768",
        "image_size": side,
        "preprocess_ms": dual_benchmark.prepare_ms(model, given, runs),
    }
    pixels = model.processor.images(given[:1])
    result["image_load_s"] = dual_benchmark.first_call_s(lambda: model.engine.encode_images(pixels))
    if not quiet:
        say(f"image tower, {counted(runs, 'run')} at each batch size")
    result["images_per_s_each_run"] = dual_benchmark.image_rates(model, runs)
    if has_graph(bundle, TEXT):
        ids = dual_benchmark.text_ids(model, tokens, 1)
        result["text_tokens"] = tokens
        result["text_load_s"] = dual_benchmark.first_call_s(lambda: model.engine.encode_texts(ids))
        if not quiet:
            say(f"text tower, texts of {counted(tokens, 'token')}, {counted(runs, 'run')} at each batch size")
        result["texts_per_s_each_run"] = dual_benchmark.text_rates(model, tokens, runs)
    for name in ("images_per_s", "texts_per_s"):
        if f"{name}_each_run" in result:
            result[name] = {batch: median(rates) for batch, rates in result[f"{name}_each_run"].items()}
    result["peak_rss_bytes"] = peak_rss_bytes()
    return result


def empty_table(result: Mapping[str, Any]) -> "Table":
    """What is measured beside what was, still without rows."""
    from rich.table import Table
    from rich.text import Text

    title = f"{result['model']} ({result['weights']} weights) on {result['machine']}"
    table = Table(title=Text(title, style="table.title"), title_justify="left")
    table.add_column("measured")
    table.add_column(runs_said(result["runs"]), justify="right")
    return table


def print_table(result: Mapping[str, Any]) -> None:
    """The result for people."""
    from nexus_edge.cli.console import console

    table = empty_table(result)
    table.add_row("image tower, load and first image", f"{result['image_load_s']:.2f} s")
    if "text_load_s" in result:
        table.add_row("text tower, load and first text", f"{result['text_load_s']:.2f} s")
    table.add_row(f"image to {result['image_size']} pixels a side", f"{result['preprocess_ms']:.1f} ms")
    for batch, rate in result["images_per_s"].items():
        table.add_row(f"image tower, batch {batch}", f"{rate:.1f} images/s")
    for batch, rate in result.get("texts_per_s", {}).items():
        table.add_row(f"text tower ({result['text_tokens']} tokens), batch {batch}", f"{rate:.1f} texts/s")
    peak = result["peak_rss_bytes"]
    table.add_row("peak memory", f"{peak / 1e9:.2f} GB" if isinstance(peak, int) else "unknown here")
    console().print(table)
