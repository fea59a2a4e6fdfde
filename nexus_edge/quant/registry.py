"""Which function makes the codes: a method of a scheme is one registered function in one file."""

import importlib
from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from nexus_edge.errors import RecipeError
from nexus_edge.quant.schemes import Scheme
from nexus_edge.quant.tensor import QuantizedTensor


class Quantizer(Protocol):
    """From a weight [rows, columns] to its codes; `importance` [columns]: what a squared error in a column counts."""

    def __call__(self, weight: Tensor, scheme: Scheme, importance: Tensor | None = None) -> QuantizedTensor: ...


_QUANTIZERS: dict[str, Quantizer] = {}
# The files that register something; a new method adds its file here.
_METHOD_FILES = ("nexus_edge.quant.methods.rtn", "nexus_edge.quant.methods.two_level")


def quantizer(method: str) -> Callable[[Quantizer], Quantizer]:
    """Register the decorated function as a scheme's `method`."""

    def register(function: Quantizer) -> Quantizer:
        _QUANTIZERS[method] = function
        return function

    return register


def find_quantizer(method: str) -> Quantizer:
    """The function registered for a scheme's `method`.

    Raises:
        RecipeError: no file registers that method
    """
    for module in _METHOD_FILES:
        importlib.import_module(module)
    if method not in _QUANTIZERS:
        raise RecipeError(f'no quantizer for method = "{method}"; known: {", ".join(sorted(_QUANTIZERS))}, float')
    return _QUANTIZERS[method]
