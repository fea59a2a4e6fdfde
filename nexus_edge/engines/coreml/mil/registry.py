"""Which function computes which operation.

A function takes an operation's arguments under Apple's names; what the file may leave out has Apple's default. Floats
come and go as float32 (float64 is rounded by the evaluator), integers and truth values in any of numpy's types that
holds them. It raises ValueError where Apple's definition does not allow the arguments, or leaves open what comes out.
"""

import importlib
import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray

Array = NDArray[Any]
Operator = Callable[..., Array | tuple[Array, ...] | None]
OperatorT = TypeVar("OperatorT", bound=Operator)

_FILES = (
    "activations",
    "arithmetic",
    "attention",
    "compressed",
    "gather",
    "linear",
    "normalisation",
    "reductions",
    "shapes",
    "slices",
    "states",
)


@dataclass(frozen=True)
class Entry:
    """An operation's function and the names of its arguments.

    Attributes:
        many: arguments that are tuples, such as `values` of `concat`
    """

    function: Operator
    required: frozenset[str]
    known: frozenset[str]
    many: frozenset[str]


_ENTRIES: dict[str, Entry] = {}


def operator(kind: str, many: Collection[str] = ()) -> Callable[[OperatorT], OperatorT]:
    """Register the decorated function as operation `kind`."""

    def register(function: OperatorT) -> OperatorT:
        parameters = inspect.signature(function).parameters
        required = frozenset(name for name, value in parameters.items() if value.default is value.empty)
        _ENTRIES[kind] = Entry(function, required, frozenset(parameters), frozenset(many))
        return function

    return register


def operators() -> dict[str, Entry]:
    """All operations that can be evaluated."""
    for file in _FILES:
        importlib.import_module(f"nexus_edge.engines.coreml.mil.ops.{file}")
    return _ENTRIES
