"""Weights as inputs of an ONNX graph, in the types and shapes that the nodes of `lowering` hand on to OpenVINO.

The bytes of a stored tensor are taken as they are: codes of 4 bits lie in the same order in a safetensors file of ours
and in a u4 constant, so a view of them is all that is needed.
"""

import onnx_ir as ir

from nexus_edge.export.onnx.passes import PARAMETER_PREFIX
from nexus_edge.export.openvino.lowering import DOMAIN

_QUANTIZED = {"matmul_nbits": (1, 2, 3), "gather_quantized": (1, 2, 3)}
"""Node -> places of its codes, scales and zero points."""


def make_weight_inputs(model: ir.Model, constants: frozenset[str]) -> None:
    """Turn every initializer but `constants` into an input under its name in the torch model, in place."""
    for node in model.graph:
        if node.domain == DOMAIN and node.op_type in _QUANTIZED:
            _view_groups(node)
        elif node.domain == DOMAIN and node.op_type == "matmul_int8":
            _set_shape(node.inputs[2], [*_sizes(node.inputs[2]), 1])
    for name, value in list(model.graph.initializers.items()):
        key = name.removeprefix(PARAMETER_PREFIX)
        if key in constants:
            continue
        del model.graph.initializers[name]
        value.name = key
        model.graph.inputs.append(value)


def _view_groups(node: ir.Node) -> None:
    """Codes [rows, groups, group_size], scales [rows, groups, 1], zero points [rows, groups, 1] in 4 or 8 bits.

    Packed zero points of an odd number of groups keep their bytes [rows, ceil(groups / 2)]: each row of them ends with
    half a byte of padding, which no constant of OpenVINO can have.
    """
    bits, group_size = (node.attributes[name].as_int() for name in ("bits", "group_size"))
    codes, scales, zero_points = (node.inputs[place] if place < len(node.inputs) else None for place in (1, 2, 3))
    rows, groups = _sizes(scales)[:2]
    kind = ir.DataType.UINT4 if bits == 4 else ir.DataType.UINT8
    _set_shape(codes, [rows, groups, group_size], kind)
    _set_shape(scales, [rows, groups, 1])
    if zero_points is not None and (bits == 8 or groups % 2 == 0):
        _set_shape(zero_points, [rows, groups, 1], kind)


def _sizes(value: ir.Value | None) -> list[int]:
    assert value is not None
    assert value.shape is not None
    return [int(size) for size in value.shape.numpy()]


def _set_shape(value: ir.Value | None, shape: list[int], dtype: ir.DataType | None = None) -> None:
    assert value is not None
    value.shape = ir.Shape(shape)
    if dtype is not None:
        value.dtype = dtype
