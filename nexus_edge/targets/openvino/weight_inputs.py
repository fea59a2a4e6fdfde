"""Weights as inputs of an ONNX graph, in the types and shapes that the nodes of `lowering` hand on to OpenVINO.

The bytes of a stored tensor are taken as they are: codes of 4 bits lie in the same order in a safetensors file of ours
and in a u4 constant, so a view of them is all that is needed.
"""

import onnx_ir as ir

from nexus_edge.targets.onnx.passes import PARAMETER_PREFIX
from nexus_edge.targets.openvino.lowering import DOMAIN

_TYPES = {4: ir.DataType.UINT4, 8: ir.DataType.UINT8}
_CODES = 1
_SCALES = 2
_ZERO_POINTS = 3
"""Indices among the inputs of a node with a weight in groups."""


def make_weight_inputs(model: ir.Model, constants: frozenset[str]) -> None:
    """Turn every initializer but `constants` into an input under its name in the torch model, in place."""
    for node in model.graph:
        if node.domain != DOMAIN:
            continue
        if node.op_type in ("matmul_nbits", "gather_quantized"):
            _view_groups(node)
        elif node.op_type == "widen_int4":
            _view_levels(node)
        elif node.op_type == "matmul_int8":
            _set_shape(node.inputs[_SCALES], [*_sizes(node.inputs[_SCALES]), 1])
    for name, value in list(model.graph.initializers.items()):
        key = name.removeprefix(PARAMETER_PREFIX)
        if key in constants:
            continue
        del model.graph.initializers[name]
        value.name = key
        model.graph.inputs.append(value)


def _view_groups(node: ir.Node) -> None:
    """Codes [rows, groups, group_size], scales [rows, groups, 1] and zero points in 4 or 8 bits."""
    bits, group_size = (node.attributes[name].as_int() for name in ("bits", "group_size"))
    rows, groups = _sizes(node.inputs[_SCALES])[:2]
    _set_shape(node.inputs[_CODES], [rows, groups, group_size], _TYPES[bits])
    _set_shape(node.inputs[_SCALES], [rows, groups, 1])
    if len(node.inputs) > _ZERO_POINTS and node.inputs[_ZERO_POINTS] is not None:
        _view_packed(node.inputs[_ZERO_POINTS], rows, groups, bits)


def _view_levels(node: ir.Node) -> None:
    """Codes [rows, groups, group_size], multipliers and zero points, all of 4 bits."""
    codes, *packed = node.inputs
    rows, groups, half = _sizes(codes)
    _set_shape(codes, [rows, groups, 2 * half], _TYPES[4])
    for value in packed:
        _view_packed(value, rows, groups, 4)


def _view_packed(value: ir.Value | None, rows: int, groups: int, bits: int) -> None:
    """One number per group: [rows, groups, 1] in 4 or 8 bits.

    An odd number of groups keeps its bytes [rows, ceil(groups / 2)]: each row of them ends with half a byte of padding,
    which no constant of OpenVINO can have.
    """
    if bits == 8 or groups % 2 == 0:
        _set_shape(value, [rows, groups, 1], _TYPES[bits])


def _sizes(value: ir.Value | None) -> list[int]:
    assert value is not None
    assert value.shape is not None
    return [int(size) for size in value.shape.numpy()]


def _set_shape(value: ir.Value | None, shape: list[int], dtype: ir.DataType | None = None) -> None:
    assert value is not None
    value.shape = ir.Shape(shape)
    if dtype is not None:
        value.dtype = dtype
