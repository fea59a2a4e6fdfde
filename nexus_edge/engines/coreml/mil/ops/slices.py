"""Slices, read and written."""

import numpy as np

from nexus_edge.engines.coreml.mil.registry import Array, operator

Index = tuple[int | slice, ...]


@operator("slice_by_index")
def slice_by_index(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    return x[_index(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)]


@operator("slice_update")
def slice_update(
    x: Array,
    update: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    """x with the slice replaced, whose shape `update` must have: it is not broadcast."""
    index = _index(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    if x[index].shape != update.shape:
        raise ValueError(f"the slice is {list(x[index].shape)}, the update {list(update.shape)}")
    result = x.copy()
    result[index] = update
    return result


@operator("slice_by_size")
def slice_by_size(x: Array, begin: Array, size: Array) -> Array:
    """A size of -1 takes all from `begin` on."""
    wanted = zip(begin.tolist(), size.tolist(), x.shape, strict=True)
    spans = [(first, whole if count == -1 else first + count, whole) for first, count, whole in wanted]
    if any(not 0 <= first <= last <= whole for first, last, whole in spans):
        raise ValueError(f"the slice from {begin.tolist()} of {size.tolist()} leaves {list(x.shape)}")
    return x[tuple(slice(first, last) for first, last, _ in spans)]


def _index(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None,
    begin_mask: Array | None,
    end_mask: Array | None,
    squeeze_mask: Array | None,
) -> Index:
    """As Python's slices: negative numbers count from the end, and what lies beyond it is cut off."""
    none = np.zeros(x.ndim, bool)
    masks = [none if mask is None else mask for mask in (begin_mask, end_mask, squeeze_mask)]
    steps = np.ones(x.ndim, np.int32) if stride is None else stride
    columns = [column.tolist() for column in (begin, end, steps, *masks)]
    index: list[int | slice] = []
    for first, last, step, from_start, to_end, single in zip(*columns, strict=True):
        if single:
            index.append(0 if from_start else first)
        else:
            index.append(slice(None if from_start else first, None if to_end else last, step))
    return tuple(index)
