"""Decode speed and memory beside ONNX Runtime GenAI on the decoder that its own builder makes from the same weights.

    python benchmarks/decode_vs_genai.py compare               # full size: 35 GB of disk, 24 GB of memory, 10 minutes
    python benchmarks/decode_vs_genai.py compare --layers 4    # the same widths, fewer layers: 6 GB of memory

Synthetic weights go three ways: as a text-only checkpoint into GenAI's builder (int4, block 32, accuracy level 4, its
CPU settings), and through `nexus-edge export` into our bundle. Then both are measured in turn, each time in a process
of its own: the same prompt, the same number of greedy tokens. GenAI runs twice, as its builder configures it and with
as many threads as there are cores, because by default it takes only a part of them.

Steps that are done are not repeated (delete --work to start over). Measure on a machine that does nothing else.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from steps import child, once, say

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import StreamingSafetensorsWriter, SyntheticCheckpoint, published_numbers, tiny_folder
from nexus_edge.runtimes import EngineOptions, load_vlm
from nexus_edge.runtimes.machine import machine, peak_rss_bytes
from nexus_edge.runtimes.vlm.benchmark import measure

FULL_LAYERS = 32
GOAL = 1.7  # times GenAI's tokens/s
BUILDER = ("-p", "int4", "-e", "cpu", "--extra_options", "block_size=32", "accuracy_level=4")
ENGINES = ("genai", "genai-threads", "nexus-edge")
app = typer.Typer(add_completion=False)


@app.command()
def compare(
    layers: Annotated[int, typer.Option(help="Decoder layers.")] = FULL_LAYERS,
    prompt_tokens: Annotated[int, typer.Option(help="Prompt length.")] = 512,
    new_tokens: Annotated[int, typer.Option(help="Tokens to generate.")] = 64,
    rounds: Annotated[int, typer.Option(help="How often each engine is measured; the median counts.")] = 3,
    recipe: Annotated[str, typer.Option(help="Of our bundle: int4, int8, ... or a file.")] = "int4",
    work: Annotated[Path, typer.Option(help="Folder for checkpoints and models.")] = Path("out/decode_vs_genai"),
) -> None:
    """Make what is missing, then measure and compare."""
    work.mkdir(parents=True, exist_ok=True)
    text, genai = work / f"text-{layers}", work / f"genai-{layers}"
    bundle = work / f"{Path(recipe).stem}-{layers}"
    once(text / "config.json", "text-only checkpoint", lambda: child(__file__, "write-text", text, "--layers", layers))
    once(genai / "genai_config.json", "GenAI's builder", lambda: _build(text, genai, work / "cache"))
    once(
        bundle / "manifest.json",
        "our export",
        lambda: child(__file__, "export-bundle", bundle, recipe, "--layers", layers),
    )
    results: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    for number in range(rounds):
        for engine in ENGINES:
            say(f"round {number + 1} of {rounds}: {engine}")
            folder = bundle if engine == "nexus-edge" else genai
            output = child(
                __file__, "run-engine", engine, folder, "--prompt-tokens", prompt_tokens, "--new-tokens", new_tokens
            )
            results[engine].append(json.loads(output.splitlines()[-1]))
    _report(results, layers, prompt_tokens, new_tokens)


@app.command(hidden=True)
def write_text(out: Path, layers: int = FULL_LAYERS) -> None:
    """The decoder's weights in the form of Phi-3-mini, which GenAI's builder reads without remote code."""
    checkpoint = _synthetic(layers)
    keys = {key: info for key, info in checkpoint.keys().items() if "vision_embed_tokens" not in key}
    out.mkdir(parents=True, exist_ok=True)
    with StreamingSafetensorsWriter(out / "model.safetensors", keys) as writer:
        for key in keys:
            writer.write(key, checkpoint.read(key))
    files = checkpoint.processor_files()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (out / name).write_bytes(files[name])
    vision_only = ("auto_map", "embd_layer", "img_processor")
    config = {key: value for key, value in checkpoint.config.items() if key not in vision_only}
    rope = {**config["rope_scaling"], "type": "longrope"}
    config |= {"architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "rope_scaling": rope}
    (out / "config.json").write_text(json.dumps(config), "utf-8")  # last: its presence says that the rest is there


@app.command(hidden=True)
def export_bundle(out: Path, recipe: str, layers: int = FULL_LAYERS) -> None:
    """Our bundle, without the parity ladder."""
    from nexus_edge.pipeline.export import export
    from nexus_edge.recipe import find_recipe, read_recipe

    found = read_recipe(Path(recipe)) if recipe.endswith(".toml") else find_recipe("phi3-vision", recipe)
    export(_synthetic(layers), found, out, force=True, parity=False)


@app.command(hidden=True)
def run_engine(engine: str, folder: Path, prompt_tokens: int = 512, new_tokens: int = 64) -> None:
    """Measure one engine in this process; the last line of the output is JSON."""
    if engine == "nexus-edge":
        run = measure(load_vlm(Bundle.open(folder), EngineOptions()), prompt_tokens, new_tokens)
        speeds = {"prefill": run.prefill_tokens_per_s, "decode": run.decode_tokens_per_s}
    else:
        speeds = _run_genai(folder, prompt_tokens, new_tokens, os.cpu_count() if engine == "genai-threads" else None)
    print(json.dumps({**speeds, "peak_rss_bytes": peak_rss_bytes()}))


def _run_genai(folder: Path, prompt_tokens: int, new_tokens: int, threads: int | None) -> dict[str, float]:
    """Tokens per second; both numbers count as `measure` does: the first new token belongs to the prompt."""
    import onnxruntime_genai

    config = onnxruntime_genai.Config(str(folder))
    if threads is not None:
        config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
    model = onnxruntime_genai.Model(config)
    params = onnxruntime_genai.GeneratorParams(model)
    # Its buffer is allocated for max_length at once: no more than is needed. min_length keeps it from stopping.
    params.set_search_options(max_length=prompt_tokens + new_tokens, min_length=prompt_tokens + new_tokens)
    generator = onnxruntime_genai.Generator(model, params)
    ids = np.random.default_rng(0).integers(3, 300, (1, prompt_tokens), dtype=np.int32)
    started = time.perf_counter()
    generator.append_tokens(ids)
    generator.generate_next_token()
    first = time.perf_counter()
    for _ in range(new_tokens - 1):
        generator.generate_next_token()
    return {"prefill": prompt_tokens / (first - started), "decode": (new_tokens - 1) / (time.perf_counter() - first)}


def _synthetic(layers: int) -> SyntheticCheckpoint:
    checkpoint = SyntheticCheckpoint(published_numbers("phi3_vision"), tiny_folder())
    checkpoint.config["num_hidden_layers"] = layers
    return checkpoint


def _build(text: Path, out: Path, cache: Path) -> None:
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", text, "-o", out, "-c", cache, *BUILDER]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _report(results: dict[str, list[dict[str, float]]], layers: int, prompt_tokens: int, new_tokens: int) -> None:
    typical = {
        engine: {name: median(run[name] for run in runs) for name in runs[0]} for engine, runs in results.items()
    }
    table = Table(title=f"{layers} of {FULL_LAYERS} layers, {prompt_tokens} + {new_tokens} tokens, {machine()}")
    for column in ("engine", "prefill tokens/s", "decode tokens/s", "of it slowest-fastest", "peak RSS"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    for engine, row in typical.items():
        decode = [run["decode"] for run in results[engine]]
        spread = f"{min(decode):.2f}-{max(decode):.2f}"
        peak = f"{row['peak_rss_bytes'] / 1e9:.2f} GB"
        table.add_row(engine, f"{row['prefill']:.1f}", f"{row['decode']:.2f}", spread, peak)
    Console().print(table)
    ours = typical["nexus-edge"]["decode"]
    for engine in ENGINES[:2]:
        print(f"decode, nexus-edge / {engine}: {ours / typical[engine]['decode']:.2f} (goal {GOAL})")
    print(json.dumps({"layers": layers, "prompt_tokens": prompt_tokens, "new_tokens": new_tokens, **typical}))


if __name__ == "__main__":
    app()
