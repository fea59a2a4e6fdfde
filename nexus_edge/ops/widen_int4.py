"""4-bit weights on two levels to the int8 weights that they stand for; done once, when a graph is loaded."""

import torch
from torch import Tensor

from nexus_edge.quant.tensor import widen_codes


@torch.library.custom_op("nexus::widen_int4", mutates_args=())
def widen_int4(qweight: Tensor, multipliers: Tensor, zero_points: Tensor, columns: int) -> Tensor:
    """(code - zero point) * multiplier.

    Args:
        qweight: uint8 [rows, groups, group_size / 2], two codes in a byte, the first in its low half
        multipliers, zero_points: uint8 [rows, ceil(groups / 2)], packed likewise; every result must fit into int8
        columns: how many of the groups * group_size columns are real

    Returns:
        int8 [rows, columns]
    """
    return widen_codes(qweight, multipliers, zero_points, columns)


@widen_int4.register_fake
def _(qweight: Tensor, multipliers: Tensor, zero_points: Tensor, columns: int) -> Tensor:
    return qweight.new_empty(qweight.shape[0], columns, dtype=torch.int8)
