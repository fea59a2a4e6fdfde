"""What each scheme costs in ONNX Runtime: time, memory and rounding error of its products.

    python benchmarks/kernels.py [--threads 1] [SCHEME ...]

Prints a Markdown table. Weights are Gaussian; activations are Gaussian with a few channels 30 times and one token 10
times as large, as vision towers have them (arXiv 2208.07339, 2309.16588).
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from nexus_edge.bundle import TensorSpec
from nexus_edge.engines.onnx.session import NO_SATURATION
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.interfaces.target import StoredTensor
from nexus_edge.quant.apply import quantize_tensor
from nexus_edge.quant.linear import QuantLinear
from nexus_edge.quant.schemes import available_schemes, load_scheme
from nexus_edge.targets.onnx.emit import attach_weights, save, translate

PER_TENSOR = "(DynamicQuantizeMatMul)"  # int8 as ONNX Runtime's own quantizer makes it: one activation scale for all
DECODE_WEIGHTS = 3_722_379_264  # Phi-3-Vision's decoder and lm_head: what one token reads
DECODE_SHAPE, DECODE_COPIES = (16384, 3072), 8  # enough distinct weights that no cache holds them
VISION_SHAPE, VISION_TOKENS = (4096, 1024), (577, 2885, 9809)  # CLIP's fc1; 1, 5 and 17 crops
PREFILL_SHAPE, PREFILL_TOKENS = (8192, 3072), 512


class Stack(nn.Module):
    """Several layers that read the same input."""

    def __init__(self, layers: list[QuantLinear]) -> None:
        super().__init__()
        self.root = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """[tokens, in] -> per layer [tokens, out]"""
        return tuple(layer(x) for layer in self.root)


def write_model(name: str, weight: Tensor, copies: int, folder: Path) -> None:
    """`copies` layers with the rows of `weight` in different orders, as model.onnx in `folder`."""
    folder.mkdir()
    if name == PER_TENSOR:
        _save_per_tensor(weight, folder)
    else:
        _save_layers(name, weight, copies, folder)


def _save_layers(name: str, weight: Tensor, copies: int, folder: Path) -> None:
    scheme, (rows, columns) = load_scheme(name), weight.shape
    spec = GraphSpec(
        "layers",
        Stack([QuantLinear((rows, columns), scheme) for _ in range(copies)]),
        inputs=(TensorSpec("x", "float32", ("tokens", columns)),),
        outputs=tuple(TensorSpec(f"y{i}", "float32", ("tokens", rows)) for i in range(copies)),
    )
    model, stored = translate(spec), {}
    tensors = quantize_tensor(weight, scheme)
    with (folder / "weights").open("wb") as file:
        for i in range(copies):
            for suffix, tensor in tensors.items():
                array, offset = tensor.numpy(), file.seek(-file.tell() % 64, 1)
                where = StoredTensor(Path("weights"), str(array.dtype), array.shape, offset, array.nbytes)
                stored[f"{i}.{suffix}"] = where
                # Rolled, because ONNX Runtime keeps equal weights once.
                file.write(np.roll(array, i, axis=0).tobytes())
    attach_weights(model, stored, {})
    save(model, folder / "model.onnx")


def _save_per_tensor(weight: Tensor, folder: Path) -> None:
    stored = quantize_tensor(weight, load_scheme("int8"))
    node = helper.make_node("DynamicQuantizeMatMul", ["x", "w", "s"], ["y0"], domain="com.microsoft")
    constants = {"w": stored["qweight"].T.contiguous(), "s": stored["scales"]}
    graph = helper.make_graph(
        [node],
        "layers",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["tokens", weight.shape[1]])],
        [helper.make_tensor_value_info("y0", onnx.TensorProto.FLOAT, ["tokens", weight.shape[0]])],
        [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "model.onnx")


def gaussian(shape: tuple[int, int]) -> Tensor:
    """A weight [out, in] as training leaves it, roughly."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.02


def activations(tokens: int, width: int) -> np.ndarray:
    """float32 [tokens, width] with outlier channels, and an outlier token at the front"""
    x = np.random.default_rng(1).standard_normal((tokens, width), dtype=np.float32)
    x[:, :: width // 4] *= 30
    x[0] *= 10
    return x


def measure(folder: Path, threads: int) -> dict[str, float]:
    """Time and memory of the models in `folder`; runs in a process of its own, which holds nothing else."""
    results = {}
    before = _anonymous_bytes()
    session, results["load"] = _load(folder / "decode", threads)
    results["decode"] = _seconds(session, activations(1, DECODE_SHAPE[1]), threads)
    results["memory"] = _anonymous_bytes() - before
    session, _ = _load(folder / "prefill", threads)
    results["prefill"] = _seconds(session, activations(PREFILL_TOKENS, PREFILL_SHAPE[1]), threads)
    session, _ = _load(folder / "vision", threads)
    for tokens in VISION_TOKENS:
        results[f"vision {tokens}"] = _seconds(session, activations(tokens, VISION_SHAPE[1]), threads)
    x = activations(VISION_TOKENS[0], VISION_SHAPE[1])
    exact = x.astype(np.float64) @ gaussian(VISION_SHAPE).numpy().T
    difference = session.run(None, {"x": x})[0] - exact
    # Without the outlier token: the question is what it does to the others.
    results["error"] = float(np.linalg.norm(difference[1:]) / np.linalg.norm(exact[1:]))
    return results


def _load(folder: Path, threads: int) -> tuple[onnxruntime.InferenceSession, float]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry(*NO_SATURATION)  # as our runtime opens graphs
    clock = _clock(threads)
    start = clock()
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    return session, clock() - start


def _clock(threads: int) -> Callable[[], float]:
    """With one thread the processor's time, which other programs on the machine do not lengthen."""
    return time.process_time if threads == 1 else time.perf_counter


def _seconds(session: onnxruntime.InferenceSession, x: np.ndarray, threads: int) -> float:
    """The fastest of the runs that fit into two seconds."""
    clock, inputs, times, end = _clock(threads), {"x": x}, list[float](), time.perf_counter() + 2
    session.run(None, inputs)
    while len(times) < 2 or time.perf_counter() < end:
        begin = clock()
        session.run(None, inputs)
        times.append(clock() - begin)
    return min(times)


def table_row(name: str, threads: int) -> str:
    """One line of the table."""
    copies = 1 if name == PER_TENSOR else DECODE_COPIES
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_model(name, gaussian(DECODE_SHAPE), copies, folder / "decode")
        write_model(name, gaussian(PREFILL_SHAPE), 1, folder / "prefill")
        write_model(name, gaussian(VISION_SHAPE), 1, folder / "vision")
        command = [sys.executable, __file__, "--measure", temporary, "--threads", str(threads)]
        results = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        size = sum(file.stat().st_size for file in (folder / "decode").iterdir())
    decode = copies * math.prod(DECODE_SHAPE)
    cells = [f"{size / decode:.3f}", f"{results['memory'] / decode:.2f}", f"{results['load'] / decode * 1e9:.1f}"]
    # One copy of the weight would stay in the cache, and say nothing about a whole decoder.
    cells.append(f"{results['decode'] / decode * DECODE_WEIGHTS * 1e3:.0f}" if copies > 1 else "-")
    cells.append(_gflops(PREFILL_TOKENS, PREFILL_SHAPE, results["prefill"]))
    cells += [_gflops(tokens, VISION_SHAPE, results[f"vision {tokens}"]) for tokens in VISION_TOKENS]
    return f"| {name} | {' | '.join(cells)} | {results['error']:.4f} |"


def _gflops(tokens: int, shape: tuple[int, int], seconds: float) -> str:
    return f"{2 * tokens * math.prod(shape) / seconds / 1e9:.0f}"


def _anonymous_bytes() -> int:
    """Memory of this process that is not a mapped file (Linux)."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Anonymous:"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("schemes", nargs="*", default=[*available_schemes(), PER_TENSOR])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.measure is not None:
        print(json.dumps(measure(options.measure, options.threads)))
        return
    print(f"{_cpu()}, {options.threads} thread(s), onnxruntime {onnxruntime.__version__}\n")
    vision = " | ".join(f"vision {tokens}, GFLOP/s" for tokens in VISION_TOKENS)
    columns = "scheme | file, B/weight | memory, B/weight | load, ns/weight | decode, ms/token"
    print(f"| {columns} | prefill {PREFILL_TOKENS}, GFLOP/s | {vision} | error |\n|{'---|' * 10}", flush=True)
    for name in options.schemes:
        print(table_row(name, options.threads), flush=True)


def _cpu() -> str:
    """The processor's name and what matters of its instruction set (Linux)."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    found = dict(line.replace("\t", "").split(": ", 1) for line in lines if ": " in line)
    flags = {"avx2", "avx512f", "avx512_vnni", "amx_int8"} & set(found["flags"].split())
    return f"{found['model name']} ({', '.join(sorted(flags))})"


if __name__ == "__main__":
    main()
