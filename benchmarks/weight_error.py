"""What each scheme makes of trained weights.

    python benchmarks/weight_error.py FILE.safetensors [--match SUBSTRING]

Takes every matrix of the file whose name holds SUBSTRING and prints, per scheme, bytes per weight, the relative error
|quantized - weight| / |weight| (mean and largest over the matrices), the least cosine of a matrix, and the speed on one
core.
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from nexus_edge.quant.registry import find_quantizer
from nexus_edge.quant.schemes import Scheme, available_schemes, load_scheme


def matrices(path: Path, match: str) -> list[Tensor]:
    """The matrices of a safetensors file, [out, in] each."""
    with safe_open(path, framework="pt") as file:
        names = [name for name in sorted(file.keys()) if match in name]
        tensors = [file.get_tensor(name) for name in names]
    return [tensor for tensor in tensors if tensor.ndim == 2 and tensor.is_floating_point()]


def table_row(scheme: Scheme, weights: list[Tensor]) -> str:
    """One line of the table."""
    errors, cosines, stored, busy = [], [], 0, 0.0
    for weight in weights:
        start = time.process_time()
        quantized = find_quantizer(scheme.method)(weight, scheme)
        busy += time.process_time() - start
        stored += sum(tensor.nbytes for tensor in quantized.buffers().values())
        exact, restored = weight.double().flatten(), quantized.dequantize().double().flatten()
        errors.append(((restored - exact).norm() / exact.norm()).item())
        cosines.append(torch.nn.functional.cosine_similarity(exact, restored, dim=0).item())
    count = sum(weight.numel() for weight in weights)
    cells = [f"{stored / count:.3f}", f"{sum(errors) / len(errors):.4f}", f"{max(errors):.4f}", f"{min(cosines):.5f}"]
    return f"| {scheme.name} | {scheme.method} | {' | '.join(cells)} | {count / busy / 1e6:.0f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--match", default="", help="only tensors whose name holds this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    weights = matrices(options.file, options.match)
    print(f"{len(weights)} matrices, {sum(weight.numel() for weight in weights) / 1e6:.1f}M weights\n")
    print("| scheme | method | B/weight | mean error | largest error | least cosine | M weights/s |")
    print(f"|{'---|' * 7}")
    for name in available_schemes():
        scheme = load_scheme(name)
        if not scheme.is_float:
            print(table_row(scheme, weights), flush=True)


if __name__ == "__main__":
    main()
