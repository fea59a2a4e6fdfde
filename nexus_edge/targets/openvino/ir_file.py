"""OpenVINO's IR: an .xml with the graph, and a .bin with the constants, each at an offset that the .xml names.

The .bin of ours is a safetensors file. OpenVINO reads at offsets only, so it meets the tensors after the header; the
model comes here with its weights as inputs, and these become constants that point at their tensors. So no
weight passes through OpenVINO, and the .bin is what the exporter streamed. Source of the format: OpenVINO's
documentation, "Operation sets" and "IR format", version 11.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Tree

import numpy as np

from nexus_edge._telemetry import without_telemetry
from nexus_edge.checkpoints.base import Array
from nexus_edge.errors import OutputError
from nexus_edge.interfaces.target import StoredTensor

with without_telemetry():
    import openvino as ov

_ALIGNMENT = 64  # bytes; the small constants then lie as `StreamingSafetensorsWriter` lays out weights


@dataclass(frozen=True)
class Draft:
    """An IR without its weights.

    Attributes:
        xml: the graph; every weight is a Parameter
        constants: uint8 [bytes], what its Const layers point into
    """

    xml: str
    constants: Array

    @classmethod
    def of(cls, model: ov.Model) -> "Draft":
        """Serialize a model whose weights are inputs."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.xml"
            save(model, path)
            constants = path.with_suffix(".bin").read_bytes()
            padding = bytes(-len(constants) % _ALIGNMENT)
            return cls(path.read_text("utf-8"), np.frombuffer(constants + padding, np.uint8))

    def weights(self, others: frozenset[str]) -> frozenset[str]:
        """Names of the inputs that are not among `others`."""
        names = {layer.attrib["name"] for layer in _layers(Tree.fromstring(self.xml), "Parameter")}
        return frozenset(names - others)

    def write(self, path: Path, tensors: Mapping[str, StoredTensor], constants: StoredTensor) -> None:
        """Write the .xml.

        Args:
            path: of the .xml
            tensors: where each weight lies in the .bin
            constants: where `self.constants` lies there
        """
        root = Tree.fromstring(self.xml)
        for layer in _layers(root, "Const"):
            data = _data(layer)
            data.set("offset", str(int(data.attrib["offset"]) + constants.offset))
        for layer in _layers(root, "Parameter"):
            tensor = tensors.get(layer.attrib["name"])
            if tensor is not None:
                layer.set("type", "Const")
                data = _data(layer)
                data.set("offset", str(tensor.offset))
                data.set("size", str(tensor.size))
        Tree.indent(root)
        path.write_bytes(Tree.tostring(root, encoding="utf-8", xml_declaration=True))


def save(model: ov.Model, path: Path) -> None:
    """Write a model with its constants as they are; raises OutputError."""
    try:
        ov.serialize(model, path)
    except RuntimeError as error:  # OpenVINO's only kind, also of a full disk
        raise OutputError(f"{path}: cannot be written ({error}); is the disk of {path.parent} full?") from error


def _layers(root: Tree.Element, kind: str) -> list[Tree.Element]:
    return [layer for layer in root.iterfind("layers/layer") if layer.get("type") == kind]


def _data(layer: Tree.Element) -> Tree.Element:
    data = layer.find("data")
    assert data is not None
    return data
