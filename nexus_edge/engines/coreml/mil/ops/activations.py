"""Activations and softmax."""

import numpy as np

from nexus_edge.engines.coreml.mil.ops.arithmetic import erf
from nexus_edge.engines.coreml.mil.registry import Array, operator


@operator("relu")
def relu(x: Array) -> Array:
    return np.maximum(x, 0)


@operator("sigmoid")
def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


@operator("silu")
def silu(x: Array) -> Array:
    return x * sigmoid(x)


@operator("gelu")
def gelu(x: Array, mode: str = "EXACT") -> Array:
    match mode:
        case "EXACT":
            return 0.5 * x * (1 + erf(x / np.sqrt(2.0)))
        case "TANH_APPROXIMATION":
            return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        case "SIGMOID_APPROXIMATION":
            return x * sigmoid(1.702 * x)
    raise ValueError(f"the mode {mode!r}")


@operator("softmax")
def softmax(x: Array, axis: Array | int = -1) -> Array:
    powers = np.exp(x - np.max(x, axis=int(axis), keepdims=True))
    return powers / np.sum(powers, axis=int(axis), keepdims=True)
