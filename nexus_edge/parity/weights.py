"""Compares stored weights with the checkpoint's, tensor by tensor: what no run on a few prompts would find.

The unit is the quantization step: how far the stored weight is from the original, in multiples of the distance between
two neighbouring codes (or two neighbouring floats). Rounding to nearest stays within half a step unless it clips.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nexus_edge.bundle import BundleWeights
from nexus_edge.checkpoints.tensors import take, to_torch
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.pipeline.weights import one_thread
from nexus_edge.quant.linear import QuantEmbedding, QuantLinear
from nexus_edge.quant.registry import find_quantizer
from nexus_edge.quant.schemes import Scheme
from nexus_edge.quant.tensor import QuantizedTensor

if TYPE_CHECKING:
    from nexus_edge.models.base import ReferenceModel

# Weights that are compared at a time: their float32 temporaries stay in a core's L2 cache.
_PIECE = 1 << 17
_WORKERS = 2  # each holds one tensor of the checkpoint; torch lets go of the interpreter while it computes


def compare_weights(
    source: WeightSource, quantized: "ReferenceModel", weights: BundleWeights
) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Name, storage (`int4`, `int8 compensated`, `float`) and measures of every weight of the bundle, in model order.

    Args:
        source: the original weights; one of them is read at a time
        quantized: the model with its layers replaced; may be on the meta device
        weights: the bundle's
    """

    def compare(name: str) -> tuple[str, str, dict[str, float]] | None:
        owner, _, leaf = name.rpartition(".")
        module = quantized.get_submodule(owner)
        pieces: Iterator[tuple[Tensor, Tensor]]
        if leaf == "weight" and isinstance(module, QuantLinear | QuantEmbedding) and not module.scheme.is_float:
            stored, kind, pieces = f"{owner}.qweight", _kind(module.scheme), _packed(module, owner, weights)
        else:
            stored, kind, pieces = name, "float", _floats(name, weights)
        if stored not in weights.infos:
            return None
        original = take(source, name)
        return name, kind, _measures(original.reshape(len(original), -1), pieces)

    with ThreadPoolExecutor(_WORKERS) as pool, one_thread():
        for found in pool.map(compare, source.infos):
            if found is not None:
                yield found


def _kind(scheme: Scheme) -> str:
    """By which gates are found: where errors are moved between weights, one weight's distance says nothing."""
    return f"int{scheme.bits}" + ("" if find_quantizer(scheme.method).nearest else " compensated")


def _packed(
    module: QuantLinear | QuantEmbedding, owner: str, weights: BundleWeights
) -> Iterator[tuple[Tensor, Tensor]]:
    """Dequantized rows, and the size of a step at each of their entries."""
    scheme, (rows, columns) = module.scheme, module.shape
    names = {name: f"{owner}.{name}" for name in ("qweight", "scales", "zero_points", "multipliers")}
    stored = {name: to_torch(weights.read(key)) for name, key in names.items() if key in weights.infos}
    count = max(1, _PIECE // columns)
    for start in range(0, rows, count):
        piece = {name: tensor[start : start + count] for name, tensor in stored.items()}
        packed = QuantizedTensor(
            piece["qweight"],
            piece["scales"],
            piece.get("zero_points"),
            scheme.bits,
            scheme.group_size,
            (len(piece["qweight"]), columns),
            piece.get("multipliers"),
        )
        yield packed.dequantize(), packed.steps()
    for name in stored:
        weights.release(names[name])


def _floats(name: str, weights: BundleWeights) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of a weight that is stored as a float, and the distance to the next float (at most |x| * eps)."""
    stored = to_torch(weights.read(name))
    numbers = torch.finfo(stored.dtype)
    wide = stored.float().reshape(len(stored), -1)
    count = max(1, _PIECE // wide.shape[1])
    for piece in wide.split(count):
        yield piece, piece.abs().clamp(min=numbers.tiny) * numbers.eps
    weights.release(name)


def _measures(original: Tensor, pieces: Iterator[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Worst step, worst error, and relative L2 error of [rows, columns] given in pieces of rows."""
    start, steps, worst, squares, norm = 0, 0.0, 0.0, 0.0, 0.0
    for weight, step in pieces:
        expected = original[start : start + len(weight)].float()
        start += len(weight)
        error = (weight - expected).abs_()
        # A group of zeros has a scale of 0 and no error; an error there is out of every bound.
        steps = max(steps, float(torch.where(error > 0, error / step, 0.0).max()))
        worst = max(worst, float(error.max()))
        squares += float(error.square_().sum(dtype=torch.float64))
        norm += float(expected.square().sum(dtype=torch.float64))
    return {"steps": steps, "max_abs": worst, "relative_l2": (squares / norm) ** 0.5 if norm else worst}
