"""Element by element: arithmetic, comparison, logic, casts. Two arguments broadcast as in numpy."""

import math
from collections.abc import Callable

import numpy as np

from nexus_edge.engines.coreml.mil.dtypes import BY_NAME
from nexus_edge.engines.coreml.mil.registry import Array, operator

_UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "cos": np.cos,
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "identity": np.asarray,
    "logical_not": np.logical_not,
    "round": np.round,  # halves to the even neighbour
    "sign": np.sign,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "square": np.square,
    "tanh": np.tanh,
}
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "equal": np.equal,
    "floor_div": np.floor_divide,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mod": np.mod,
    "mul": np.multiply,
    "not_equal": np.not_equal,
    "pow": np.power,
    "sub": np.subtract,
}


def _register_unary(kind: str, function: Callable[[Array], Array]) -> None:
    @operator(kind)
    def unary(x: Array) -> Array:
        return function(x)


def _register_binary(kind: str, function: Callable[[Array, Array], Array]) -> None:
    @operator(kind)
    def binary(x: Array, y: Array) -> Array:
        return function(x, y)


for _kind, _one in _UNARY.items():
    _register_unary(_kind, _one)
for _kind, _two in _BINARY.items():
    _register_binary(_kind, _two)


@operator("real_div")
def real_div(x: Array, y: Array) -> Array:
    """Integers are allowed too, but what becomes of a remainder Apple does not say."""
    if x.dtype.kind == "f":
        return np.divide(x, y)
    quotient, rest = np.divmod(x, y)
    if np.any(rest):
        raise ValueError("integers with a remainder: Apple leaves open how it is rounded")
    return quotient


@operator("log")
def log(x: Array, epsilon: Array | float = 1e-45) -> Array:
    return np.log(x + epsilon)


@operator("rsqrt")
def rsqrt(x: Array, epsilon: Array | float = 1e-12) -> Array:
    return 1 / np.sqrt(x + epsilon)


@operator("inverse")
def inverse(x: Array, epsilon: Array | float = 1e-4) -> Array:
    return 1 / (x + epsilon)


@operator("erf")
def erf(x: Array) -> Array:
    """numpy has none; the standard library's is exact to float64."""
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), np.float64)


@operator("clip")
def clip(x: Array, alpha: Array, beta: Array) -> Array:
    return np.minimum(np.maximum(x, alpha), beta)


@operator("select")
def select(cond: Array, a: Array, b: Array) -> Array:
    return np.where(cond, a, b)


@operator("cast")
def cast(x: Array, dtype: str) -> Array:
    """To integers towards zero, to bool whether it is not 0; one float type is as good as another here.

    Raises:
        ValueError: unknown type, or a value that the type cannot hold: Apple does not say what becomes of it.
    """
    wanted = BY_NAME.get(dtype)
    if wanted is None or wanted.kind == "string":
        raise ValueError(f"a cast to {dtype!r}")
    if wanted.kind == "float":
        return x.astype(np.float32)
    if wanted.kind == "bool":
        return x != 0
    whole = np.trunc(x)
    low, high = wanted.bounds
    if not np.all((whole >= low) & (whole <= high)):  # also where it is not a number
        raise ValueError(f"a value does not fit into {dtype}")
    return whole.astype(wanted.storage)
