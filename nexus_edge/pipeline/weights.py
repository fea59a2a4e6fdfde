"""Streams a checkpoint into a weights file of a bundle: read a tensor, quantize it, write it, forget it."""

import math
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nexus_edge.checkpoints import StreamingSafetensorsWriter, TensorInfo, check_finite
from nexus_edge.checkpoints.tensors import take
from nexus_edge.errors import CheckpointError
from nexus_edge.interfaces.progress import Count
from nexus_edge.interfaces.target import StoredTensor, WeightsFile
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.quant.apply import quantize_tensor
from nexus_edge.quant.linear import QuantEmbedding, QuantLinear
from nexus_edge.quant.schemes import Scheme

WORKERS = 2  # each holds one tensor of the checkpoint; torch lets go of the interpreter while it computes


@dataclass(frozen=True)
class _Job:
    """One tensor of the model, and what becomes of it: the stored tensors' names begin with `prefix`."""

    name: str
    prefix: str
    scheme: Scheme | None  # None: stored as float32 under `prefix` itself
    importance: Tensor | None
    parameters: int


def write_weights(
    source: WeightSource,
    quantized: nn.Module,
    wanted: WeightsFile,
    root: Path,
    progress: Count,
    importance: Mapping[str, Tensor],
) -> dict[str, StoredTensor]:
    """Write tensors of the quantized model.

    Args:
        source: the weights of the full-precision model
        quantized: that model with its layers replaced (`quantize_modules`), on the meta device
        wanted: the file to make
        root: the bundle's folder
        importance: of the columns of some weights, by the parameter's name; see `quantize_tensor`

    Returns:
        where each tensor lies

    Raises:
        CheckpointError: a weight cannot be read, or holds NaN or Inf
        OutputError: the file cannot be written
    """
    path = root / wanted.file
    path.parent.mkdir(exist_ok=True)
    infos = {name: _info(tensor) for name, tensor in _tensors(quantized) if name in wanted.tensors}
    infos |= {name: TensorInfo(array.dtype.name, array.shape) for name, array in wanted.extra.items()}
    jobs = list(_jobs(source, quantized, wanted.tensors, importance))
    total, done = sum(job.parameters for job in jobs), 0
    with StreamingSafetensorsWriter(path, infos) as writer, ThreadPoolExecutor(WORKERS) as pool, one_thread():
        for name, array in wanted.extra.items():
            writer.write(name, array)
        try:
            for parameters in pool.map(lambda job: _run(job, source, writer), jobs):
                done += parameters
                progress(done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # the others must not write into a file that is about to go
            raise
        return stored_tensors(writer)


def stored_tensors(writer: StreamingSafetensorsWriter) -> dict[str, StoredTensor]:
    """Where the tensors of a file lie."""
    return {
        name: StoredTensor(writer.path, entry.info.dtype, entry.info.shape, entry.offset, entry.info.size)
        for name, entry in writer.entries.items()
    }


def _jobs(
    source: WeightSource,
    quantized: nn.Module,
    names: Collection[str],
    importance: Mapping[str, Tensor],
) -> Iterator[_Job]:
    schemes = {
        name: module.scheme
        for name, module in quantized.named_modules()
        if isinstance(module, QuantLinear | QuantEmbedding)
    }
    for name, info in source.infos.items():
        owner, _, leaf = name.rpartition(".")
        if leaf == "weight" and owner in schemes:
            if any(stored.startswith(f"{owner}.") for stored in names):
                yield _Job(name, f"{owner}.", schemes[owner], importance.get(name), math.prod(info.shape))
        elif name in names:
            yield _Job(name, name, None, None, math.prod(info.shape))


def _run(job: _Job, source: WeightSource, writer: StreamingSafetensorsWriter) -> int:
    try:
        return _write(job, source, writer)
    except CheckpointError as error:
        raise CheckpointError(f"{source.checkpoint.name}: {error}") from error


def _write(job: _Job, source: WeightSource, writer: StreamingSafetensorsWriter) -> int:
    tensor = take(source, job.name)
    if tensor.dtype is torch.float64:
        require_float32(job.name, tensor)
    if job.scheme is None:
        values = tensor.float().numpy()
        check_finite(job.name, values)
        writer.write(job.prefix, values)
    else:
        for suffix, part in quantize_tensor(tensor, job.scheme, job.name, job.importance).items():
            writer.write(job.prefix + suffix, part.numpy())
    return job.parameters


def require_float32(name: str, tensor: torch.Tensor) -> None:
    """Raise CheckpointError where a finite float64 is infinite as a float32, the widest type that models compute in."""
    lost = tensor.isfinite() & ~tensor.float().isfinite()
    if lost.any():
        raise CheckpointError(
            f"tensor {name!r} holds {float(tensor[lost][0]):.3g}, too large for float32, in which models "
            "compute; save the checkpoint in float32 and look at what becomes of it"
        )


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _info(tensor: Tensor) -> TensorInfo:
    return TensorInfo(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, each torch operation runs on the thread that calls it: the workers themselves are the parallelism."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def summary(schemes: Mapping[str, Scheme]) -> str:
    """In words how a graph's weights are stored: "int4-g32", or "int4-g32, int8" with the most frequent first."""
    counts: dict[str, int] = {}
    for scheme in schemes.values():
        counts[scheme.name] = counts.get(scheme.name, 0) + 1
    return ", ".join(sorted(counts, key=lambda name: -counts[name])) or "float32"
