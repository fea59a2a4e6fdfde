"""Normalisations."""

import numpy as np

from nexus_edge.engines.coreml.mil.registry import Array, operator


@operator("layer_norm")
def layer_norm(
    x: Array,
    axes: Array | None = None,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Array | float = 1e-5,
) -> Array:
    """gamma and beta have the sizes of x along `axes`; without axes all of them are normalised."""
    along = sorted(axis % x.ndim for axis in (range(x.ndim) if axes is None else axes.tolist()))
    centred = x - np.mean(x, axis=tuple(along), keepdims=True)
    y = centred / np.sqrt(np.mean(np.square(centred), axis=tuple(along), keepdims=True) + epsilon)
    sizes = [x.shape[axis] if axis in along else 1 for axis in range(x.ndim)]
    if gamma is not None:
        y = y * gamma.reshape(sizes)
    return y if beta is None else y + beta.reshape(sizes)


@operator("l2_norm")
def l2_norm(x: Array, epsilon: Array | float = 1e-6) -> Array:
    """Over the last three axes together."""
    return x / np.sqrt(np.sum(np.square(x), axis=(-3, -2, -1), keepdims=True) + epsilon)
