"""Reductions, the place of an extreme, cumulative sums."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nexus_edge.engines.coreml.mil.registry import Array, operator

_Reduction = Callable[..., Any]  # numpy's own, with axis and keepdims

_REDUCTIONS: dict[str, tuple[_Reduction, Callable[[Array], Array], Callable[[Array], Array]]] = {
    # what is reduced, and what is made of each element before and of the result after
    "reduce_sum": (np.sum, np.asarray, np.asarray),
    "reduce_mean": (np.mean, np.asarray, np.asarray),
    "reduce_max": (np.max, np.asarray, np.asarray),
    "reduce_min": (np.min, np.asarray, np.asarray),
    "reduce_prod": (np.prod, np.asarray, np.asarray),
    "reduce_l1_norm": (np.sum, np.abs, np.asarray),
    "reduce_l2_norm": (np.sum, np.square, np.sqrt),
    "reduce_sum_square": (np.sum, np.square, np.asarray),
    "reduce_log_sum": (np.sum, np.asarray, np.log),
}


def _register(
    kind: str, reduction: _Reduction, before: Callable[[Array], Array], after: Callable[[Array], Array]
) -> None:
    @operator(kind)
    def reduce(x: Array, axes: Array | None = None, keep_dims: Array | bool = False) -> Array:
        along = None if axes is None else tuple(axes.tolist())
        return after(reduction(before(x), axis=along, keepdims=bool(keep_dims)))


for _kind, _parts in _REDUCTIONS.items():
    _register(_kind, *_parts)


@operator("reduce_log_sum_exp")
def reduce_log_sum_exp(x: Array, axes: Array | None = None, keep_dims: Array | bool = False) -> Array:
    along = None if axes is None else tuple(axes.tolist())
    largest = np.max(x, axis=along, keepdims=True)
    total = np.log(np.sum(np.exp(x - largest), axis=along, keepdims=True)) + largest
    return total if keep_dims else np.squeeze(total, axis=along)


@operator("reduce_argmax")
def reduce_argmax(
    x: Array, axis: Array | int = -1, keep_dims: Array | bool = False, output_dtype: str = "int32"
) -> Array:
    """The first of equals; the type of the result is the declared one."""
    return np.argmax(x, axis=int(axis), keepdims=bool(keep_dims))


@operator("reduce_argmin")
def reduce_argmin(
    x: Array, axis: Array | int = -1, keep_dims: Array | bool = False, output_dtype: str = "int32"
) -> Array:
    """The first of equals; the type of the result is the declared one."""
    return np.argmin(x, axis=int(axis), keepdims=bool(keep_dims))


@operator("cumsum")
def cumsum(x: Array, axis: Array | int = 0, exclusive: Array | bool = False, reverse: Array | bool = False) -> Array:
    """Exclusive: each element holds the sum of those before it, the first one 0."""
    if reverse:
        x = np.flip(x, int(axis))
    total = np.cumsum(x, axis=int(axis), dtype=x.dtype)
    if exclusive:
        total = total - x
    return np.flip(total, int(axis)) if reverse else total
