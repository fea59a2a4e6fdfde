"""Elements picked and placed by indices.

From iOS 17 on every one of these has `validate_indices`, and negative indices are outside; before, they count from the
end. What an index outside picks Apple leaves open, so here it is an error, validation asked for or not.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nexus_edge.engines.coreml.mil.registry import Array, operator

_PLACE: dict[str, Callable[[Array, Any, Array], None]] = {
    "add": np.add.at,
    "sub": np.subtract.at,
    "mul": np.multiply.at,
    "div": np.divide.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
    "update": lambda data, index, updates: data.__setitem__(index, updates),
}


@operator("gather")
def gather(
    x: Array,
    indices: Array,
    axis: Array | int = 0,
    batch_dims: Array | int = 0,
    validate_indices: Array | None = None,
) -> Array:
    """x [*batch, *a, size, *b], indices [*batch, *n] -> [*batch, *a, *n, *b], where `axis` is that of `size`."""
    along, batch = int(axis) % x.ndim, int(batch_dims)
    places = _inside(indices, x.shape[along], validate_indices)
    if batch == 0:
        return np.take(x, places, along)
    rows = x.reshape(-1, *x.shape[batch:])
    chosen = places.reshape(-1, *places.shape[batch:])
    picked = np.stack([np.take(row, place, along - batch) for row, place in zip(rows, chosen, strict=True)])
    return picked.reshape(*x.shape[:batch], *picked.shape[1:])


@operator("gather_along_axis")
def gather_along_axis(x: Array, indices: Array, axis: Array | int = 0, validate_indices: Array | None = None) -> Array:
    return np.take_along_axis(x, _inside(indices, x.shape[int(axis)], validate_indices), int(axis))


@operator("gather_nd")
def gather_nd(x: Array, indices: Array, batch_dims: Array | int = 0, validate_indices: Array | None = None) -> Array:
    """indices [*n, k]: each row names an element (or sub-tensor) by its first k places."""
    if int(batch_dims):
        raise ValueError("batch_dims other than 0")
    return x[_rows(x, indices, validate_indices)]


@operator("scatter")
def scatter(
    data: Array,
    indices: Array,
    updates: Array,
    axis: Array | int = 0,
    mode: str = "update",
    validate_indices: Array | None = None,
) -> Array:
    """indices [n] along `axis`; updates as data, with n along it."""
    along = int(axis) % data.ndim
    places = _inside(indices, data.shape[along], validate_indices)
    return _placed(data, (*[slice(None)] * along, places), updates, mode)


@operator("scatter_along_axis")
def scatter_along_axis(
    data: Array,
    indices: Array,
    updates: Array,
    axis: Array | int = 0,
    mode: str = "add",
    validate_indices: Array | None = None,
) -> Array:
    """updates have the shape of indices."""
    index: list[Array] = list(np.indices(indices.shape, sparse=True))
    index[int(axis)] = _inside(indices, data.shape[int(axis)], validate_indices)
    return _placed(data, tuple(index), updates, mode)


@operator("scatter_nd")
def scatter_nd(
    data: Array, indices: Array, updates: Array, mode: str = "add", validate_indices: Array | None = None
) -> Array:
    """indices [*n, k], updates [*n, *data.shape[k:]]"""
    return _placed(data, _rows(data, indices, validate_indices), updates, mode)


def _rows(x: Array, indices: Array, validate_indices: Array | None) -> tuple[Array, ...]:
    """[*n, k] -> k times [*n]"""
    if indices.shape[-1] > x.ndim:
        raise ValueError(f"indices of {indices.shape[-1]} places into {list(x.shape)}")
    return tuple(_inside(indices[..., place], x.shape[place], validate_indices) for place in range(indices.shape[-1]))


def _placed(data: Array, index: Any, updates: Array, mode: str) -> Array:
    if mode not in _PLACE:
        raise ValueError(f"the mode {mode!r}")
    if data[index].shape != updates.shape:
        raise ValueError(f"updates of {list(updates.shape)} where {list(data[index].shape)} are replaced")
    result = data.copy()
    _PLACE[mode](result, index, updates)
    return result


def _inside(indices: Array, size: int, validate_indices: Array | None) -> Array:
    lowest = -size if validate_indices is None else 0
    outside = indices[(indices < lowest) | (indices >= size)]
    if outside.size:
        raise ValueError(f"the index {outside.flat[0]} is outside of {lowest} to {size - 1}")
    return indices.astype(np.int64)
