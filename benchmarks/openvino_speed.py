"""Phi-3-Vision on the CPU by OpenVINO: our bundle beside optimum-intel's int4 export in OpenVINO GenAI, in one run.

    python benchmarks/openvino_speed.py compare --peer-python ENV/bin/python    # 25 GB of disk, 16 GB of memory
    python benchmarks/openvino_speed.py compare --peer-python ENV/bin/python --layers 8    # 8 GB of each

The same synthetic weights go two ways: through `openvino_peer.py` in its own environment (ENV: pip install
optimum-intel nncf openvino) and through `nexus-edge export --target onnx --target openvino`. Four engines then take
turns, each time in a process of its own, with as many threads as they take by default: the peer in OpenVINO GenAI, our
IR unmodified in OpenVINO GenAI, and our bundle in our runtime by ONNX Runtime and by OpenVINO, both as they are without
`nexus-edge tune`. The peer gets our tokenizer, because its own would need the hub.

A process loads the model, answers a first prompt, and is then measured with two more: text alone, and one image of 15
crops and the global view. "first run" is from the start of loading to the first token of the first prompt. Prompts and
images differ, because GenAI keeps the cache of those it has seen. Medians of the rounds.

Steps that are done are not repeated (delete --work to start over). Measure on a machine that does nothing else.
"""

import json
import shutil
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from steps import child, once, say

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import SyntheticCheckpoint, open_checkpoint, published_numbers, tiny_folder
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.runtimes import EngineOptions, load_vlm
from nexus_edge.runtimes.machine import machine, peak_rss_bytes
from nexus_edge.runtimes.vlm.benchmark import QUESTION, measure
from nexus_edge.runtimes.vlm.image_cache import ImageCache

FULL_LAYERS = 32
GOAL = 1.2  # times the peer's tokens/s, and its time to the first token
PEER, OURS_GENAI = "optimum-intel in GenAI", "our IR in GenAI"
OURS = {"our runtime, ONNX Runtime": "onnx", "our runtime, OpenVINO": "openvino"}
ENGINES = (PEER, OURS_GENAI, *OURS)
SIZE = (720, 1280)  # height and width: 3 rows of 5 crops, 2,353 tokens
COMPANIONS = ("*.json", "openvino_tokenizer.*", "openvino_detokenizer.*")
FIGURES = {
    "prefill": ("prefill, tokens/s", "{:.1f}"),
    "decode": ("decode, tokens/s", "{:.2f}"),
    "image_s": ("first token with the image, s", "{:.1f}"),
    "image_decode": ("decode after it, tokens/s", "{:.2f}"),
    "first_run_s": ("first run, s", "{:.1f}"),
    "text_peak_bytes": ("peak memory with text, GB", "{:.2f}"),
    "peak_bytes": ("with the image, GB", "{:.2f}"),
}
"""What a process measures -> its column and how it is written."""
app = typer.Typer(add_completion=False)


@app.command()
def compare(
    peer_python: Annotated[Path, typer.Option(help="Python of an environment with optimum-intel.")],
    layers: Annotated[int, typer.Option(help="Decoder layers.")] = FULL_LAYERS,
    checkpoint: Annotated[Path | None, typer.Option(help="Take this instead of writing synthetic weights.")] = None,
    prompt_tokens: Annotated[int, typer.Option(help="Prompt length without an image.")] = 512,
    image_tokens: Annotated[int, typer.Option(help="Prompt length with the image.")] = 2500,
    new_tokens: Annotated[int, typer.Option(help="Tokens to generate.")] = 64,
    rounds: Annotated[int, typer.Option(help="How often each engine is measured; the median counts.")] = 3,
    work: Annotated[Path, typer.Option(help="Folder for checkpoints and models.")] = Path("out/openvino_speed"),
    output: Annotated[Path | None, typer.Option("--json", help="Write all figures here.")] = None,
) -> None:
    """Make what is missing, then measure and compare."""
    work.mkdir(parents=True, exist_ok=True)
    source = checkpoint or work / f"checkpoint-{layers}"
    bundle, peer = work / f"bundle-{layers}", work / f"peer-{layers}"
    once(source / "config.json", "checkpoint", lambda: child(__file__, "write-checkpoint", source, layers))
    once(bundle / "manifest.json", "our export", lambda: child(__file__, "export-bundle", source, bundle))
    once(peer / "config.json", "optimum-intel's export", lambda: _make_peer(peer_python, source, bundle, peer))
    lengths = (prompt_tokens, image_tokens, new_tokens)
    results: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    for number in range(rounds):
        for engine in ENGINES:
            say(f"round {number + 1} of {rounds}: {engine}")
            folder = {PEER: peer, OURS_GENAI: bundle / "openvino"}.get(engine, bundle)
            results[engine].append(json.loads(child(__file__, "run-engine", engine, folder, *lengths).splitlines()[-1]))
    title = f"{layers} of {FULL_LAYERS} layers, {prompt_tokens} and {image_tokens} + {new_tokens} tokens, {machine()}"
    _report(title, results)
    if output is not None:
        output.write_text(json.dumps({"title": title, "runs": results}, indent=2), "utf-8")


@app.command(hidden=True)
def write_checkpoint(out: Path, layers: int) -> None:
    """Synthetic weights as safetensors."""
    import make_checkpoint

    source = SyntheticCheckpoint(published_numbers("phi3_vision"), tiny_folder())
    source.config["num_hidden_layers"] = layers
    out.mkdir()
    make_checkpoint.write(source, out)


@app.command(hidden=True)
def export_bundle(checkpoint: Path, out: Path) -> None:
    """Our bundle for both runtimes, without the parity ladder."""
    from dataclasses import replace

    from nexus_edge.pipeline.export import export
    from nexus_edge.recipe import find_recipe

    recipe = replace(find_recipe("phi3-vision", "int4"), targets=("onnx", "openvino"))
    export(open_checkpoint(str(checkpoint), recipe.checkpoint), recipe, out, force=True, parity=False)


def _make_peer(python: Path, checkpoint: Path, bundle: Path, out: Path) -> None:
    unfinished = out.with_name(out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    script = Path(__file__).with_name("openvino_peer.py")
    made = subprocess.run([python, script, checkpoint, unfinished], check=True, stdout=subprocess.PIPE, text=True)
    say(made.stdout.splitlines()[-1])
    for pattern in COMPANIONS:
        for file in (bundle / "openvino").glob(pattern):
            shutil.copy(file, unfinished)
    unfinished.rename(out)


@app.command(hidden=True)
def run_engine(engine: str, folder: Path, prompt_tokens: int, image_tokens: int, new_tokens: int) -> None:
    """Measure one engine in this process; the last line of the output is JSON."""
    first, second = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), np.uint8)
    started = time.perf_counter()
    model: Any = _Ours(folder, OURS[engine]) if engine in OURS else _GenAi(folder)
    model.run(prompt_tokens, 2)
    figures: dict[str, float | None] = {"first_run_s": time.perf_counter() - started}
    first_s, decode = model.run(prompt_tokens, new_tokens)
    figures |= {"prefill": prompt_tokens / first_s, "decode": decode, "text_peak_bytes": peak_rss_bytes()}
    model.see(first)
    figures["image_s"], figures["image_decode"] = model.run(image_tokens, new_tokens, second)
    print(json.dumps({**figures, "peak_bytes": peak_rss_bytes()}))


class _Ours:
    """A bundle in our runtime."""

    def __init__(self, folder: Path, target: str) -> None:
        options = EngineOptions(engine=target, keep_vision=True, openvino=OpenVinoSettings())
        self._vlm = load_vlm(Bundle.open(folder), options)

    def see(self, pixels: np.ndarray) -> None:
        """Encode a first image, for which the vision graphs are loaded."""
        inputs = self._vlm.processor(self._vlm.wrap(QUESTION, 1), [Image.fromarray(pixels)])
        ImageCache(self._vlm.engine, self._vlm.host).encode(self._vlm.host.prompt(inputs).images)

    def run(self, prompt_tokens: int, new_tokens: int, pixels: np.ndarray | None = None) -> tuple[float, float]:
        """Seconds until the first token, and tokens/s after it."""
        images = [] if pixels is None else [Image.fromarray(pixels)]
        run = measure(self._vlm, prompt_tokens, new_tokens, images)
        return run.first_token_s, run.decode_tokens_per_s


class _GenAi:
    """A folder in OpenVINO GenAI, as it comes."""

    def __init__(self, folder: Path) -> None:
        import openvino_genai

        self._pipeline = openvino_genai.VLMPipeline(str(folder), "CPU")
        self._number = 0
        self._around = 0

    def see(self, pixels: np.ndarray) -> None:
        """Encode a first image, and count the tokens of a prompt that are not of its text."""
        self._around = self._generate(self._text(16), 1, pixels).get_num_input_tokens() - 16

    def run(self, prompt_tokens: int, new_tokens: int, pixels: np.ndarray | None = None) -> tuple[float, float]:
        """Seconds until the first token, and tokens/s after it."""
        around = 0 if pixels is None else self._around
        metrics = self._generate(self._text(prompt_tokens - around), new_tokens, pixels)
        if metrics.get_num_input_tokens() != prompt_tokens:
            raise ValueError(f"a prompt of {metrics.get_num_input_tokens()} tokens instead of {prompt_tokens}")
        return metrics.get_ttft().mean / 1e3, 1e3 / metrics.get_tpot().mean

    def _generate(self, text: str, new_tokens: int, pixels: np.ndarray | None) -> Any:
        import openvino
        import openvino_genai

        config = openvino_genai.GenerationConfig(max_new_tokens=new_tokens, ignore_eos=True)
        config.apply_chat_template = False
        if pixels is None:
            return self._pipeline.generate(text, generation_config=config).perf_metrics
        # The number comes first: GenAI takes images of similar features for the same and reuses the cache of one.
        prompt = f"{self._number}. <|image_1|>\n{text}"
        return self._pipeline.generate(prompt, images=[openvino.Tensor(pixels)], generation_config=config).perf_metrics

    def _text(self, tokens: int) -> str:
        """A text of that many tokens which no earlier one begins with."""
        self._number += 1
        encode = self._pipeline.get_tokenizer().encode
        text = f"{self._number}. " + QUESTION * tokens
        low, high = 0, len(text)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if encode(text[:middle]).input_ids.shape[1] < tokens else (low, middle)
        return text[:low]


def _report(title: str, results: dict[str, list[dict[str, float]]]) -> None:
    typical = {
        engine: {name: median(run[name] for run in runs) for name in FIGURES} for engine, runs in results.items()
    }
    columns = " | ".join(column for column, _ in FIGURES.values())
    print(f"{title}\n\n| engine | {columns} |\n|{'---|' * (len(FIGURES) + 1)}")
    for engine, row in typical.items():
        cells = [
            form.format(row[name] / 1e9 if name.endswith("_bytes") else row[name])
            for name, (_, form) in FIGURES.items()
        ]
        print(f"| {engine} | {' | '.join(cells)} |")
    print()
    peer = typical[PEER]
    for engine in ENGINES[1:]:
        row = typical[engine]
        decode, first = row["decode"] / peer["decode"], peer["image_s"] / row["image_s"]
        print(f"{engine} to the peer: decode {decode:.2f}, first token with the image {first:.2f} (goal {GOAL})")
    spread = {engine: [round(run["decode"], 2) for run in runs] for engine, runs in results.items()}
    print(f"decode, run by run: {json.dumps(spread)}")


if __name__ == "__main__":
    app()
