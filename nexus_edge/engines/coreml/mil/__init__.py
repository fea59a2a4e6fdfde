"""Evaluates saved Core ML packages on any machine: a reference to compare with, not a runtime to ship.

    package     Manifest.json -> specification, weights     schema, spec, features  the specification's bytes -> values
    blob        tensors of weights/weight.bin               evaluate                one run, every type checked
    registry    operation -> function                       ops/                    the operations, in numpy
    model       MilModel, MilFunction: what others use

Needs numpy and protobuf, neither coremltools nor a Mac.
"""

from nexus_edge.engines.coreml.mil.evaluate import ComputePrecision
from nexus_edge.engines.coreml.mil.features import Feature
from nexus_edge.engines.coreml.mil.model import MilFunction, MilModel, State

__all__ = ["ComputePrecision", "Feature", "MilFunction", "MilModel", "State"]
