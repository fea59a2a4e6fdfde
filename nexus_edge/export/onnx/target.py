"""The graphs of a bundle's `onnx/` folder, with one weights file beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir
from torch import Tensor

from nexus_edge.bundle import GraphInfo
from nexus_edge.export.onnx.emit import attach_weights, save, tensor_names, translate
from nexus_edge.export.onnx.lowering import CachedAttention
from nexus_edge.export.weights import StoredTensor
from nexus_edge.graphs import GraphSpec

FOLDER = "onnx"
# Beside the graphs and not at the bundle's root, because ONNX Runtime reads no external data from outside the folder
# of the .onnx file, not even through a link.
WEIGHTS = "weights.safetensors"


class OnnxTarget:
    """Translated graphs that wait for their weights."""

    def __init__(self, specs: Sequence[GraphSpec]) -> None:
        self._specs = specs
        self._models: dict[str, ir.Model] = {}

    def translate(self, spec: GraphSpec) -> None:
        """Write one graph in ONNX operators; takes seconds per graph and no weights."""
        self._models[spec.name] = translate(spec, CachedAttention.GROUP_QUERY)

    def tensor_names(self) -> set[str]:
        """Parameters and buffers of the model that any graph uses."""
        return {name for model in self._models.values() for name in tensor_names(model)}

    def write(
        self,
        root: Path,
        stored: Mapping[str, StoredTensor],
        constants: Mapping[str, Tensor],
        schemes: Mapping[str, str],
    ) -> dict[str, GraphInfo]:
        """Write the .onnx files beside the weights file and describe them for the manifest.

        Args:
            root: of the bundle
            stored: the tensors of the weights file
            constants: small tensors that are no weights
            schemes: per graph, in words how its weights are stored
        """
        infos = {}
        for spec in self._specs:
            model = self._models[spec.name]
            attach_weights(model, stored, constants, WEIGHTS)
            file = f"{FOLDER}/{spec.name}.onnx"
            save(model, root / file)
            infos[spec.name] = GraphInfo(file, spec.inputs, spec.outputs, schemes[spec.name])
        return infos
