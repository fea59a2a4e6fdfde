"""The graphs of the target onnx in full precision, without their weights: structure alone, a few megabytes."""

from pathlib import Path

import torch

from nexus_edge.checkpoints import Checkpoint, TensorInfo
from nexus_edge.interfaces.target import StoredTensor
from nexus_edge.pipeline.plan import make_plan
from nexus_edge.recipe import Recipe
from nexus_edge.targets.onnx.emit import attach_weights, save, tensor_names, translate


def comes_in_pieces(graph: str) -> bool:
    """Whether a graph of the split is loaded layer by layer: each is, see onnx_pieces.py."""
    return True


def write_without_weights(checkpoint: Checkpoint, recipe: Recipe, folder: Path) -> dict[str, Path]:
    """Graph -> its file, which says of every weight that it lies in a file that is not there.

    Args:
        checkpoint: whose model it is; nothing but its headers is read
        recipe: with every weight in float32
        folder: is made
    """
    plan = make_plan(checkpoint, recipe)
    constants = plan.quantized.constants()
    tensors = dict(plan.quantized.named_parameters()) | dict(plan.quantized.named_buffers())
    folder.mkdir(parents=True)
    files: dict[str, Path] = {}
    for spec in plan.specs:
        model = translate(spec)
        stored = {name: _nowhere(folder, tensors[name]) for name in tensor_names(model) if name not in constants}
        attach_weights(model, stored, constants)
        files[spec.name] = folder / f"{spec.name}.onnx"
        save(model, files[spec.name])
    return files


def _nowhere(folder: Path, tensor: torch.Tensor) -> StoredTensor:
    info = TensorInfo(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
    return StoredTensor(folder / "weights.safetensors", info.dtype, info.shape, 0, info.size)
