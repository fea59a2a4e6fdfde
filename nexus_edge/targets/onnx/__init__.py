"""The ONNX target: graphs for ONNX Runtime whose initializers point into one safetensors file.

emit.py      torch.export to ONNX, without weights
lowering.py  the custom ops in ONNX Runtime's operators
passes.py    what is cleaned up after torch's exporter
schemas.py   operators that the exporter does not know
"""

from typing import get_args

from nexus_edge.interfaces.quantizer import Encoding
from nexus_edge.interfaces.target import TargetInfo

TARGET = TargetInfo(
    name="onnx",
    title="ONNX",
    extra="export",
    flavour="dynamic",
    encodings=frozenset(get_args(Encoding)),
    kv="io",
    graph_file="onnx/{}.onnx",
)
