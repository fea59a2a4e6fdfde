"""The OpenVINO target: stateful IR whose weights file is a safetensors file.

lowering.py               torch's graph to ONNX, in which the custom ops stay whole
weight_inputs.py          its weights as inputs, so that nothing here ever holds one
operators.py              the custom ops in OpenVINO's operators, in the form that its CPU plugin fuses
model.py                  ONNX to an OpenVINO model
stateful.py               a decoder that keeps its cache
ir_file.py                the .xml, which points at the weights in the .bin
family.py                 the layout that a runtime wants for a family of models
tokenizers.py             tokenizers as OpenVINO GenAI reads them
"""

from typing import get_args

from nexus_edge.interfaces.quantizer import Encoding
from nexus_edge.interfaces.target import TargetInfo

TARGET = TargetInfo(
    name="openvino",
    title="OpenVINO",
    extra="openvino",
    flavour="dynamic",
    encodings=frozenset(get_args(Encoding)),
    kv="state",
)
