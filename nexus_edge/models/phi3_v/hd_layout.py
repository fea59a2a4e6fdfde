"""Lays the features of an image's crops out as one sequence; see `nexus_edge.layers.hd_assembly`, which does the same
inside an exported graph. OpenVINO GenAI's graphs, and programs with fixed shapes, leave it to the runtime."""

from dataclasses import dataclass

import numpy as np

from nexus_edge.interfaces.engine import Floats

SIDE = 12  # joined patches along one side of a crop


@dataclass(frozen=True)
class Separators:
    """What ends a row, and what stands between the crops and the global view; each as wide as a joined patch."""

    row: Floats
    view: Floats


def lay_out(features: Floats, grid: tuple[int, int], separators: Separators) -> Floats:
    """Features of the global view and of a grid of crops -> [tokens, 4 * width].

    Args:
        features: [1 + rows * columns, 576, width], the global view first
        grid: rows and columns of crops
        separators: see `Separators`
    """
    blocks = features.reshape(-1, SIDE, 2, SIDE, 2, features.shape[-1]).transpose(0, 1, 3, 2, 4, 5)
    return lay_out_joined(blocks.reshape(-1, SIDE, SIDE, 4 * features.shape[-1]), grid, separators)


def lay_out_joined(
    views: Floats, grid: tuple[int, int], separators: Separators, *, global_first: bool = False
) -> Floats:
    """The same for patches that are joined: [1 + rows * columns, 12, 12, width] -> [tokens, width].

    `global_first`: the result begins with the global view and not with the crops.
    """
    rows, columns = grid
    width = views.shape[-1]
    crops = views[1:].reshape(rows, columns, SIDE, SIDE, width).swapaxes(1, 2).reshape(rows * SIDE, -1, width)
    parts = [_with_ends(crops, separators.row), separators.view[None], _with_ends(views[0], separators.row)]
    return np.concatenate(parts[::-1] if global_first else parts)


def _with_ends(rows: Floats, end: Floats) -> Floats:
    """[rows, columns, width] -> [rows * (columns + 1), width], `end` after each row."""
    ends = np.broadcast_to(end, (len(rows), 1, len(end)))
    return np.concatenate([rows, ends], axis=1).reshape(-1, len(end))
