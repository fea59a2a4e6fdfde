"""Writes the synthetic full-size checkpoint as real sharded safetensors (8.3 GB), to measure an export from disk.

    python benchmarks/make_checkpoint.py /tmp/phi3-vision-synthetic
    python benchmarks/make_checkpoint.py /tmp/phi3-vision-8 --layers 8    # the same widths, fewer layers: 2.9 GB

The folder is laid out like the published one: shards of at most 5 GB, an index, config.json (which says that the
weights are synthetic), preprocessor_config.json and tokenizer files.
"""

import json
import resource
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from nexus_edge.checkpoints import (
    StreamingSafetensorsWriter,
    SyntheticCheckpoint,
    TensorInfo,
    published_numbers,
    tiny_folder,
)
from nexus_edge.errors import NexusEdgeError, OutputError

SHARD_BYTES = 5_000_000_000  # what save_pretrained cuts at


def split(tensors: Mapping[str, TensorInfo], limit: int) -> list[dict[str, TensorInfo]]:
    """Consecutive tensors, cut where a shard would exceed `limit` bytes."""
    shards: list[dict[str, TensorInfo]] = [{}]
    used = 0
    for key, info in tensors.items():
        if shards[-1] and used + info.size > limit:
            shards.append({})
            used = 0
        shards[-1][key] = info
        used += info.size
    return shards


def write(checkpoint: SyntheticCheckpoint, out: Path) -> int:
    """Write the folder; returns the bytes of all tensors."""
    total = sum(info.size for info in checkpoint.keys().values())
    shards = split(checkpoint.keys(), SHARD_BYTES)
    weight_map: dict[str, str] = {}
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("", total=total)
        for number, tensors in enumerate(shards, 1):
            name = f"model-{number:05}-of-{len(shards):05}.safetensors"
            with StreamingSafetensorsWriter(out / name, tensors) as writer:
                for key, info in tensors.items():
                    writer.write(key, checkpoint.read(key))
                    weight_map[key] = name
                    progress.advance(task, info.size)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), "utf-8")
    for name, content in checkpoint.processor_files().items():
        (out / name).write_bytes(content)
    return total


def main(
    out: Annotated[Path, typer.Argument(help="Folder to make; it must not exist.")],
    model: Annotated[str, typer.Option(help="phi3_vision or phi3_5_vision")] = "phi3_vision",
    tokenizer: Annotated[Path | None, typer.Option(help="Folder to copy tokenizer files from.")] = None,
    layers: Annotated[int | None, typer.Option(help="Decoder layers; default: the model's.")] = None,
) -> None:
    """Write synthetic full-size weights as a checkpoint folder."""
    started = time.perf_counter()
    try:
        checkpoint = SyntheticCheckpoint(published_numbers(model), tokenizer or tiny_folder())
        if layers is not None:
            checkpoint.config["num_hidden_layers"] = layers
        checkpoint.processor_files()  # a missing tokenizer should show before 8 GB are written
        try:
            out.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"{out}: cannot be made: {error.strerror}") from error
        try:
            total = write(checkpoint, out)
        except BaseException:
            shutil.rmtree(out, ignore_errors=True)
            raise
    except NexusEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{out}: {total / 1e9:.2f} GB in {time.perf_counter() - started:.1f} s, peak RSS {peak / 1e9:.2f} GB")


if __name__ == "__main__":
    typer.run(main)
