"""A bundle beside the same quantized model in torch, so that one can be held against the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
import torch
from onnx_sessions import session_of
from torch import Tensor

from nexus_edge.checkpoints import FolderCheckpoint
from nexus_edge.families import family_named
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.models.loading import build_empty, weights_of
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.parity.sources import load_full_precision
from nexus_edge.pipeline.calibration import Prepared, prepare
from nexus_edge.quant.apply import quantize_modules, quantize_tensor
from nexus_edge.quant.linear import QuantLinear
from nexus_edge.quant.schemes import load_scheme
from nexus_edge.quant.tensor import QuantizedTensor
from nexus_edge.recipe import Recipe


def run_module(spec: GraphSpec, tensors: Sequence[Tensor]) -> list[Tensor]:
    with torch.inference_mode():
        result = spec.module(*tensors)
    return list(result) if isinstance(result, tuple) else [result]


def rms(x: Tensor) -> float:
    return x.square().mean().sqrt().item()


@dataclass(frozen=True)
class Exported:
    """A bundle, and the same quantized model in torch."""

    recipe: Recipe
    root: Path

    @cached_property
    def prepared(self) -> Prepared:
        """The golden weights, calibrated where the recipe says so."""
        checkpoint = FolderCheckpoint(self.root.parent / "checkpoint")
        full = build_empty(checkpoint)
        with TemporaryDirectory() as folder:
            return prepare(weights_of(checkpoint, full), full, self.recipe, Path(folder), lambda step, share: None)

    @cached_property
    def model(self) -> Phi3V:
        """These weights, quantized layer by layer without the exporter."""
        split, model = family_named("phi3_v").split(), load_full_precision(self.prepared.weights)
        weights = {name: model.get_parameter(name).detach() for name in self.prepared.importance}
        quantize_modules(model, lambda name: load_scheme(self.recipe.scheme_for(split.owner(name), name)))
        for name, importance in self.prepared.importance.items():
            layer = model.get_submodule(name.removesuffix(".weight"))
            layer.fill(quantize_tensor(weights[name], layer.scheme, name, importance))
        return model

    @cached_property
    def specs(self) -> dict[str, GraphSpec]:
        """The graphs of `model`."""
        return {spec.name: spec for spec in family_named("phi3_v").split().graphs(self.model)}

    @cached_property
    def sessions(self) -> dict[str, onnxruntime.InferenceSession]:
        return {name: session_of(self.root / "onnx" / f"{name}.onnx") for name in self.specs}

    @cached_property
    def weights_only(self) -> Phi3V:
        """The same quantized weights, but products of float32 activations instead of rounded ones."""
        model = load_full_precision(self.prepared.weights)
        for name, layer in self.model.named_modules():
            if isinstance(layer, QuantLinear):
                codes = QuantizedTensor(
                    layer.qweight,
                    layer.scales,
                    layer.zero_points,
                    layer.scheme.bits,
                    layer.scheme.group_size,
                    layer.shape,
                )
                model.get_submodule(name).weight.data = codes.dequantize()
        return model

    def torch(self, graph: str, *tensors: Tensor) -> list[Tensor]:
        """What the graph's module computes."""
        return run_module(self.specs[graph], tensors)

    @property
    def is_quantized(self) -> bool:
        return any(graph.scheme != "float32" for graph in self.recipe.graphs.values())

    def noise(self, graph: str, *tensors: Tensor) -> float:
        """How far apart the first outputs of two right computations of a quantized graph may be, as root mean square.

        Rounding activations to int8 turns a difference of 1e-7, from the order of a sum, into one of 1/127 wherever a
        value lies next to a rounding boundary; layer by layer more values do, and after a few layers two runs have
        independent rounding errors. So the measure is what rounding costs at all: sqrt(2) times the distance between
        this model and the one that rounds nothing.
        """
        specs = {spec.name: spec for spec in family_named("phi3_v").split().graphs(self.weights_only)}
        return 2**0.5 * rms(self.torch(graph, *tensors)[0] - run_module(specs[graph], tensors)[0])

    def onnx(self, graph: str, *tensors: Tensor) -> list[Tensor]:
        """What ONNX Runtime computes from the exported file."""
        names = [spec.name for spec in self.specs[graph].inputs]
        feed = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        return [torch.from_numpy(array) for array in self.sessions[graph].run(None, feed)]
