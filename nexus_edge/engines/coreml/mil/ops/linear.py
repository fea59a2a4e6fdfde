"""Products with weights: linear, matmul, einsum, convolution."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nexus_edge.engines.coreml.mil.registry import Array, operator


@operator("linear")
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x [..., columns], weight [rows, columns], bias [rows] -> [..., rows]"""
    y = x @ weight.T
    return y if bias is None else y + bias


@operator("matmul")
def matmul(x: Array, y: Array, transpose_x: Array | bool = False, transpose_y: Array | bool = False) -> Array:
    """As numpy's; a transposition exchanges the last two axes, and leaves a vector as it is."""
    if transpose_x and x.ndim > 1:
        x = x.swapaxes(-1, -2)
    if transpose_y and y.ndim > 1:
        y = y.swapaxes(-1, -2)
    return np.matmul(x, y)


@operator("einsum", many=["values"])
def einsum(values: tuple[Array, Array], equation: str) -> Array:
    """Only nchw,nwhu->nchu and chw,whr->chr, whatever the letters; axes of size 1 broadcast."""
    x, y = values
    if x.ndim != y.ndim or not _is_supported(equation, x.ndim):
        raise ValueError(f"the equation {equation!r}")
    return np.matmul(x.swapaxes(-2, -3), y.swapaxes(-2, -3)).swapaxes(-2, -3)


def _is_supported(equation: str, rank: int) -> bool:
    letters: dict[str, str] = {}
    places = iter("nchwu" if rank == 4 else "chwr")
    canonical = "".join(
        letters.setdefault(letter, next(places, "?")) if letter not in letters else letters[letter]
        for letter in equation.replace(" ", "")
        if letter.isalpha()
    )
    return canonical == {4: "nchwnwhunchu", 3: "chwwhrchr"}.get(rank)


@operator("conv")
def conv(
    x: Array,
    weight: Array,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: Array | int = 1,
    bias: Array | None = None,
) -> Array:
    """x [n, channels, *sizes], weight [rows, channels / groups, *kernel] -> [n, rows, *sizes]

    Raises:
        ValueError: padding "same" or "same_lower", which nothing here writes.
    """
    axes = range(2, x.ndim)
    steps = [1] * len(axes) if strides is None else strides.tolist()
    spread = [1] * len(axes) if dilations is None else dilations.tolist()
    if pad_type == "custom" and pad is not None:
        x = np.pad(x, [(0, 0), (0, 0), *pad.reshape(-1, 2).tolist()])
    elif pad_type != "valid":
        raise ValueError(f"padding of the kind {pad_type!r}")
    extent = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], spread, strict=True)]
    windows = sliding_window_view(x, extent, axis=tuple(axes))  # [n, channels, *sizes, *extent]
    windows = windows[:, :, *(slice(None, None, step) for step in (*steps, *spread))]
    inputs = np.split(windows, int(groups), axis=1)
    filters = np.split(weight, int(groups), axis=0)
    kernel = range(2, weight.ndim)
    contracted = ([1, *(axis + len(axes) for axis in kernel)], [1, *kernel])
    # [n, *sizes, rows / groups] each
    products = [np.tensordot(part, rows, contracted) for part, rows in zip(inputs, filters, strict=True)]
    y = np.moveaxis(np.concatenate(products, axis=-1), -1, 1)
    return y if bias is None else y + bias.reshape(-1, *[1] * len(axes))
