"""BiomedCLIP's towers in our runtime beside open_clip, ONNX Runtime's own ways, and OpenVINO; all in one run.

    python benchmarks/biomedclip_speed.py synthetic           # the published shapes; 4 GB of disk, 12 GB of memory
    python benchmarks/biomedclip_speed.py tiny                # the embedded checkpoint
    python benchmarks/biomedclip_speed.py DIR --threads 1     # a checkpoint; processor's time of one thread

Every engine runs in a process of its own, so that its peak memory is its own, and all of them take turns: batch by
batch, round by round, so that whatever else the machine does hits each of them. The fastest run counts. All engines get
the same pixels of real images, and the same ids of short label prompts without padding that no text needs; what
open_clip's tokenizer pads to the full context is a line of its own. Cosines are to the float32 reference model, the
worst of 16. Prints two Markdown tables; --json writes all figures.

Steps that are done are not repeated (delete --work to start over).
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from steps import child, once, say

from nexus_edge.runtimes.machine import machine, peak_rss_bytes

PUBLISHED = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
RECIPES = ("fp32", "fp16", "int8", "int4")
BATCHES = (1, 4, 16)
TOWERS = {"image": "images/s", "text": "texts/s"}
PADDED = "open_clip float32, padded"  # texts only
PEERS = ("open_clip float32", PADDED, "open_clip bfloat16", "ONNX Runtime fp32", "ONNX Runtime quantize_dynamic",
         "OpenVINO f32", "OpenVINO bf16")  # fmt: skip
TARGETS = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}
OURS = {f"nexus-edge {recipe}, {name}": (recipe, target) for recipe in RECIPES for target, name in TARGETS.items()}
"""Engine -> recipe of the bundle, and the target of it that runs."""
PROMPTS = (
    "this is a photo of a red blood cell", "this is a photo of a white blood cell", "platelets in a blood smear",
    "lymph node with metastatic tissue", "normal lymph node", "chest X-ray with signs of pneumonia",
    "chest X-ray without findings", "lung adenocarcinoma", "squamous cell carcinoma of the lung",
    "benign lung tissue", "colon adenocarcinoma, histopathology", "benign colonic mucosa",
    "brain MRI with a glioma in the left temporal lobe", "hematoxylin and eosin stained section of a breast biopsy",
    "a bar chart of patient outcomes", "retinal fundus photograph with diabetic retinopathy",
)  # fmt: skip
app = typer.Typer(add_completion=False)


@app.command()
def compare(
    checkpoint: Annotated[str, typer.Argument(help="tiny, synthetic, or a folder.")] = "synthetic",
    threads: Annotated[int, typer.Option(help="For each engine; 1 counts the processor's time.")] = os.cpu_count() or 1,
    rounds: Annotated[int, typer.Option(help="How often each engine takes its turn.")] = 3,
    seconds: Annotated[float, typer.Option(help="Least length of a turn.")] = 1.0,
    only: Annotated[str, typer.Option(help="Engines whose name contains one of these, between commas.")] = "",
    work: Annotated[Path, typer.Option(help="Folder for bundles and models.")] = Path("out/biomedclip_speed"),
    output: Annotated[Path | None, typer.Option("--json", help="Write all figures here.")] = None,
) -> None:
    """Make what is missing, then measure and compare."""
    folder = work / Path(checkpoint).name
    folder.mkdir(parents=True, exist_ok=True)
    for recipe in RECIPES:
        done = folder / recipe / "manifest.json"
        once(
            done,
            f"our {recipe} bundle",
            lambda recipe=recipe: child(__file__, "make-bundle", checkpoint, folder, recipe),
        )
    once(folder / "reference.npz", "reference and peers", lambda: child(__file__, "make-peers", checkpoint, folder))
    engines = [name for name in (*PEERS, *OURS) if any(part in name for part in only.split(","))]
    results = {tower: _measure(tower, engines, folder, threads, rounds, seconds) for tower in TOWERS}
    clock = "processor's time" if threads == 1 else "wall time"
    print(f"{checkpoint}, {machine()}, {threads} thread(s), {clock}, the fastest of {rounds} rounds\n")
    for tower, rows in results.items():
        print(_table(tower, rows))
    if output is not None:
        output.write_text(json.dumps({"checkpoint": checkpoint, "threads": threads, "towers": results}, indent=2))


@app.command(hidden=True)
def make_bundle(checkpoint: str, folder: Path, recipe: str) -> None:
    """Export for both runtimes, without the parity ladder."""
    from dataclasses import replace

    from nexus_edge.checkpoints import open_checkpoint
    from nexus_edge.pipeline.export import export
    from nexus_edge.recipe import find_recipe

    found = replace(find_recipe("biomedclip", recipe), targets=tuple(TARGETS))
    export(open_checkpoint(checkpoint, PUBLISHED), found, folder / recipe, force=True, parity=False)


@app.command(hidden=True)
def make_peers(checkpoint: str, folder: Path) -> None:
    """The inputs, what the reference model makes of them, and the peers' models."""
    import biomedclip_peers
    import torch

    from nexus_edge.assets.heldout_crops import held_out_images
    from nexus_edge.checkpoints import open_checkpoint
    from nexus_edge.models.biomedclip.processing import BiomedClipProcessor
    from nexus_edge.models.loading import build_model, load_weights

    source = open_checkpoint(checkpoint, PUBLISHED)
    with torch.device("meta"):
        model = build_model(source)
    load_weights(model, source, torch.float32)
    processor = BiomedClipProcessor.from_folder(folder / RECIPES[0] / "processor")
    held_out = held_out_images()
    files = [crop.path for crop in (*held_out.fields, *held_out.cells)[: max(BATCHES)]]
    padded = processor.texts(list(PROMPTS))
    ids = np.ascontiguousarray(padded[:, : int((padded != 0).sum(1).max())])
    inputs = {"image": processor.images(files), "text": ids, "padded": padded}
    biomedclip_peers.prepare(source, dict(model.state_dict()), inputs, folder / "peers")
    (folder / "peers" / "model_cfg.json").write_text(json.dumps(source.config["model_cfg"]))
    with torch.inference_mode():
        image, text = model.encode_image(torch.from_numpy(inputs["image"])), model.encode_text(torch.from_numpy(ids))
    np.savez(folder / "inputs.npz", **inputs)
    np.savez(folder / "reference.npz", image=image.numpy(), text=text.numpy())


@app.command(hidden=True)
def run_engine(engine: str, tower: str, folder: Path, threads: int) -> None:
    """Load one tower, then answer each line of the input with a line of JSON.

    The input's lines are a batch size and the seconds of a turn; the answer to a batch of 0 are the vectors of all
    inputs and the peak memory.
    """
    inputs = np.load(folder / "inputs.npz")["padded" if engine == PADDED else tower]
    try:
        encode = _load(engine, tower, folder, threads)
    except ImportError as error:
        print(json.dumps({"skipped": str(error)}))
        return
    print(json.dumps({"skipped": None}), flush=True)
    clock = time.process_time if threads == 1 else time.perf_counter
    for line in sys.stdin:
        batch, seconds = line.split()
        if batch == "0":
            print(json.dumps({"vectors": encode(inputs).tolist(), "peak_rss_bytes": peak_rss_bytes()}), flush=True)
        else:
            print(json.dumps(_fastest(encode, inputs[: int(batch)], float(seconds), clock)), flush=True)


def _fastest(encode: Callable[..., object], rows: np.ndarray, seconds: float, clock: Callable[[], float]) -> float:
    encode(rows)
    times, end = list[float](), time.perf_counter() + seconds
    while len(times) < 2 or time.perf_counter() < end:
        begin = clock()
        encode(rows)
        times.append(clock() - begin)
    return min(times)


def _load(engine: str, tower: str, folder: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    if engine in OURS:
        from nexus_edge.bundle import Bundle
        from nexus_edge.engines.base import EngineOptions
        from nexus_edge.engines.dual import open_engine
        from nexus_edge.engines.openvino.settings import OpenVinoSettings

        recipe, target = OURS[engine]
        # Not as `nexus-edge tune` may have found here: everybody runs this with the same settings.
        options = EngineOptions(threads=threads, engine=target, openvino=OpenVinoSettings())
        # An engine of its own and not `nexus_edge.load`, because images and texts are prepared for all alike.
        ours = open_engine(Bundle.open(folder / recipe), options)
        return ours.encode_images if tower == "image" else ours.encode_texts
    import biomedclip_peers as peers

    kind, _, variant = engine.removesuffix(", padded").rpartition(" ")
    files = folder / "peers"
    if kind == "open_clip":
        import torch

        config = json.loads((files / "model_cfg.json").read_text())
        return peers.open_clip(config, files, tower, threads, getattr(torch, variant))
    if kind == "ONNX Runtime":
        return peers.onnxruntime(files / (f"{tower}.onnx" if variant == "fp32" else f"{tower}.int8.onnx"), threads)
    return peers.openvino(files / f"{tower}.onnx", threads, variant)


def _measure(
    tower: str, engines: list[str], folder: Path, threads: int, rounds: int, seconds: float
) -> dict[str, dict[str, Any]]:
    """Engine -> its figures, or why there are none."""
    expected = np.load(folder / "reference.npz")[tower]
    results: dict[str, dict[str, Any]] = {name: {} for name in engines if tower == "text" or name != PADDED}
    with _workers(tower, list(results), folder, threads) as workers:
        for name, worker in list(workers.items()):
            results[name]["skipped"] = _answer(worker)["skipped"]
            if results[name]["skipped"]:
                del workers[name]
        for number in range(rounds):
            for batch in BATCHES:
                say(f"{tower} tower, round {number + 1} of {rounds}, batch {batch}")
                for name, worker in workers.items():
                    best = _ask(worker, batch, seconds)
                    rate = batch / best
                    results[name][str(batch)] = max(results[name].get(str(batch), 0.0), rate)
        for name, worker in workers.items():
            answer = _ask(worker, 0, 0)
            vectors = np.array(answer["vectors"])
            results[name]["cosine"] = float((vectors * expected).sum(1).min())
            results[name]["peak_rss_bytes"] = answer["peak_rss_bytes"]
    return results


@contextmanager
def _workers(
    tower: str, engines: list[str], folder: Path, threads: int
) -> Iterator[dict[str, "subprocess.Popen[str]"]]:
    """One process per engine, all of them loaded."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    workers = {}
    for name in engines:
        command = [sys.executable, __file__, "run-engine", name, tower, str(folder), str(threads)]
        workers[name] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
    started = dict(workers)
    try:
        yield workers
    finally:
        for worker in started.values():
            worker.communicate()  # closes its input, which ends it


def _ask(worker: "subprocess.Popen[str]", batch: int, seconds: float) -> Any:
    assert worker.stdin is not None
    worker.stdin.write(f"{batch} {seconds}\n")
    worker.stdin.flush()
    return _answer(worker)


def _answer(worker: "subprocess.Popen[str]") -> Any:
    assert worker.stdout is not None
    return json.loads(worker.stdout.readline())


def _table(tower: str, rows: dict[str, dict[str, Any]]) -> str:
    head = " | ".join(f"{TOWERS[tower]} at {batch}" for batch in BATCHES)
    lines = [f"| {tower} tower | {head} | worst cosine | peak memory, MB |", f"|{'---|' * (len(BATCHES) + 3)}"]
    for name, row in rows.items():
        if row["skipped"]:
            lines.append(f"| {name} | skipped: {row['skipped']} |" + " |" * (len(BATCHES) + 1))
            continue
        rates = " | ".join(f"{row[str(batch)]:.2f}" for batch in BATCHES)
        lines.append(f"| {name} | {rates} | {row['cosine']:.5f} | {row['peak_rss_bytes'] / 1e6:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app()
