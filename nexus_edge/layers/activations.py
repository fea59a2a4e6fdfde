"""Activation functions by the names that configurations give them (transformers' `ACT2FN`)."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import gelu, relu, silu


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's approximation of GELU, x * sigmoid(1.702 x), on any shape."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "silu": silu,
    "swish": silu,
    "gelu": gelu,
    "quick_gelu": quick_gelu,
    "relu": relu,
}
"""Name -> function of a tensor, element by element."""
