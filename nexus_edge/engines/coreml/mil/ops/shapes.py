"""Shapes, and what only moves or repeats elements."""

import numpy as np

from nexus_edge.engines.coreml.mil.registry import Array, operator


@operator("shape")
def shape(x: Array) -> Array:
    return np.array(x.shape, np.int32)


@operator("reshape")
def reshape(x: Array, shape: Array) -> Array:
    """A 0 stands for the size of x at the same place from the right, or for 1 if there is none; -1 for the rest."""
    beyond = len(shape) - x.ndim
    sizes = [size or (x.shape[index - beyond] if index >= beyond else 1) for index, size in enumerate(shape.tolist())]
    return x.reshape(sizes)


@operator("transpose")
def transpose(x: Array, perm: Array) -> Array:
    return x.transpose(perm.tolist())


@operator("expand_dims")
def expand_dims(x: Array, axes: Array) -> Array:
    return np.expand_dims(x, tuple(axes.tolist()))


@operator("squeeze")
def squeeze(x: Array, axes: Array | None = None) -> Array:
    return np.squeeze(x, None if axes is None else tuple(axes.tolist()))


@operator("concat", many=["values"])
def concat(values: tuple[Array, ...], axis: Array, interleave: Array | bool = False) -> Array:
    """Numbers become a vector of them."""
    if all(value.ndim == 0 for value in values):
        return np.stack(values)
    if not interleave:
        return np.concatenate(values, int(axis))
    along = int(axis) % values[0].ndim
    sizes = list(values[0].shape)
    sizes[along] *= len(values)
    return np.stack(values, along + 1).reshape(sizes)


@operator("stack", many=["values"])
def stack(values: tuple[Array, ...], axis: Array) -> Array:
    return np.stack(values, int(axis))


@operator("split")
def split(
    x: Array, axis: Array, num_splits: Array | None = None, split_sizes: Array | None = None
) -> tuple[Array, ...]:
    if split_sizes is None:
        if num_splits is None:
            raise ValueError("neither num_splits nor split_sizes is given")
        return tuple(np.split(x, int(num_splits), int(axis)))
    if split_sizes.sum() != x.shape[int(axis)]:
        raise ValueError(f"parts of {split_sizes.tolist()} do not make up {x.shape[int(axis)]}")
    return tuple(np.split(x, np.cumsum(split_sizes)[:-1], int(axis)))


@operator("tile")
def tile(x: Array, reps: Array) -> Array:
    return np.tile(x, reps.tolist())


@operator("fill")
def fill(shape: Array, value: Array | float = 0.0) -> Array:
    return np.full(shape.tolist(), value)


@operator("fill_like")
def fill_like(ref_tensor: Array, value: Array | float = 0.0) -> Array:
    return np.full(ref_tensor.shape, value)


@operator("range_1d")
def range_1d(start: Array, end: Array, step: Array) -> Array:
    return np.arange(start.item(), end.item(), step.item()).astype(start.dtype)


@operator("pad")
def pad(x: Array, pad: Array, mode: str = "constant", constant_val: Array | float = 0.0) -> Array:
    """Pairs (before, after) of the last len(pad) / 2 axes."""
    pairs = pad.reshape(-1, 2).tolist()
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    match mode:
        case "constant":
            return np.pad(x, widths, constant_values=constant_val)
        case "reflect":
            return np.pad(x, widths, "reflect")
        case "replicate":
            return np.pad(x, widths, "edge")
    raise ValueError(f"the mode {mode!r}")
