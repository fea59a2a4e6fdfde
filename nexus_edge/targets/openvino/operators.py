"""The custom ops in OpenVINO's operators.

Each is written in the form that a transformation of the CPU plugin looks for; a right result in another form is a slow
one, so tests look at the executed graph.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nexus_edge._telemetry import without_telemetry
from nexus_edge.targets.openvino.lowering import DOMAIN

with without_telemetry():
    from openvino import Shape, Type, opset13
    from openvino.frontend.onnx import ConversionExtension
    from openvino.op import Constant

Value = Any  # an output of a node
Context = Any  # the ONNX node that is converted
op: Any = opset13

_HEADS_FIRST = [0, 2, 1, 3]


def extensions() -> list[ConversionExtension]:
    """What OpenVINO's ONNX frontend needs to read the nodes of `lowering`."""
    shared = _Shared()
    converters: dict[str, Callable[[Context], list[Value]]] = {
        "rms_norm": _rms_norm,
        "rotary": partial(_rotary, shared),
        "attention": _attention,
        "cached_attention": partial(_cached_attention, shared),
        "matmul_nbits": _matmul_nbits,
        "matmul_int8": _matmul_int8,
        "widen_int4": _widen_int4,
        "gather_quantized": _gather_quantized,
        "linear": _linear,
    }
    return [ConversionExtension(name, DOMAIN, convert) for name, convert in converters.items()]


class _Shared:
    """What all layers of a graph compute alike, and so once: the plugin does not merge all of it by itself."""

    def __init__(self) -> None:
        self._done: dict[tuple[object, ...], Value] = {}

    def get(self, key: tuple[object, ...], source: Value, make: Callable[[], Value]) -> Value:
        """What `make` made first for this key and source; the frontend gives each value of a graph its own names."""
        full = (*key, *sorted(source.get_names()))
        if full not in self._done:
            self._done[full] = make()
        return self._done[full]


def _rms_norm(node: Context) -> list[Value]:
    x, weight = _inputs(node, 2)
    square = op.reduce_mean(op.power(x, _float(2.0)), _ints(-1), keep_dims=True)
    root = op.sqrt(op.add(square, _float(node.get_attribute("eps"))))
    return op.multiply(op.multiply(x, op.divide(_float(1.0), root)), weight).outputs()


def _rotary(shared: _Shared, node: Context) -> list[Value]:
    x, cos, sin = _inputs(node, 3)
    heads = _split_heads(x, node.get_attribute("num_heads"))
    half = heads.get_partial_shape()[3].get_length() // 2
    # An axis of -1, or the second length as a number, would hide the rotation from the plugin.
    first, second = op.variadic_split(heads, _int(3), _ints(half, -1)).outputs()
    turned = op.concat([op.multiply(second, _float(-1.0)), first], -1)
    cos, sin = (shared.get(("rotary",), table, partial(_both_halves, table)) for table in (cos, sin))
    return _merge_heads(op.add(op.multiply(heads, cos), op.multiply(turned, sin)))


def _both_halves(table: Value) -> Value:
    """[batch, tokens, head_dim / 2] -> [batch, 1, tokens, head_dim]"""
    return op.unsqueeze(op.concat([table, table], -1), _ints(1))


def _attention(node: Context) -> list[Value]:
    query, key, value, visible = _inputs(node, 4)
    query, key, value = (_split_heads(x, node.get_attribute("num_heads")) for x in (query, key, value))
    tensors = [query, key, value]
    if visible is not None:
        tensors.append(op.unsqueeze(visible, _ints(1, 2)))
    return _merge_heads(op.scaled_dot_product_attention(*tensors))


def _cached_attention(shared: _Shared, node: Context) -> list[Value]:
    query, key, value, past_key, past_value, attention_mask = _inputs(node, 6)
    heads, kv_heads, window = (node.get_attribute(name) for name in ("num_heads", "num_kv_heads", "window"))
    mask = shared.get(("mask", window), attention_mask, partial(_causal_mask, query, attention_mask, window))
    present_key = op.concat([past_key, _split_heads(key, kv_heads)], 2)
    present_value = op.concat([past_value, _split_heads(value, kv_heads)], 2)
    keys, values = (_repeat_heads(present, heads // kv_heads) for present in (present_key, present_value))
    context = op.scaled_dot_product_attention(_split_heads(query, heads), keys, values, mask)
    return [*_merge_heads(context), present_key.output(0), present_value.output(0)]


def _causal_mask(query: Value, attention_mask: Value, window: int) -> Value:
    """[batch, tokens, width] and int64 [batch, past + tokens] of 0 and 1 -> bool [batch, 1, tokens, past + tokens]."""
    zero, one = _int(0), _int(1)
    tokens, total = (op.gather(op.shape_of(x), one, zero) for x in (query, attention_mask))
    column = op.range(zero, total, one, "i64")
    row = op.unsqueeze(op.range(op.subtract(total, tokens), total, one, "i64"), _ints(1))
    visible = op.less_equal(column, row)
    if window >= 0:
        visible = op.logical_and(visible, op.less_equal(op.subtract(row, column), _int(window)))
    present = op.unsqueeze(op.convert(attention_mask, "boolean"), _ints(1, 2))
    return op.logical_and(present, visible)


def _repeat_heads(x: Value, times: int) -> Value:
    """[batch, kv_heads, tokens, head_dim] -> [batch, kv_heads * times, tokens, head_dim]"""
    if times == 1:
        return x
    shape = x.get_output_partial_shape(0)
    wide = op.broadcast(op.unsqueeze(x, _ints(2)), _ints(1, 1, times, 1, 1), broadcast_spec="BIDIRECTIONAL")
    return op.reshape(wide, _ints(0, shape[1].get_length() * times, -1, shape[3].get_length()), special_zero=True)


def _matmul_nbits(node: Context) -> list[Value]:
    x, codes, scales, zero_points, bias = _inputs(node, 5)
    columns = x.get_partial_shape()[-1].get_length()
    weight = _dequantize(codes, scales, zero_points, node.get_attribute("bits"))
    return _product(_pad_columns(x, _padded(codes) - columns), weight, bias)


def _matmul_int8(node: Context) -> list[Value]:
    x, codes, scales, bias = _inputs(node, 4)
    scales = _as_float(scales)
    groups = _levels(codes)
    if groups is None:
        return _product(x, op.multiply(op.convert(codes, "f32"), scales), bias)
    # Both levels in one factor, which is computed once, at load: the plugin knows weights with one scale per group.
    differences, multipliers = groups.input_values()
    weight = _flat_groups(op.multiply(differences, op.multiply(multipliers, op.unsqueeze(scales, _ints(2)))))
    missing = weight.get_output_partial_shape(0)[1].get_length() - x.get_partial_shape()[-1].get_length()
    return _product(_pad_columns(x, missing), weight, bias)


def _widen_int4(node: Context) -> list[Value]:
    codes, multipliers, zero_points = _inputs(node, 3)
    zeros, factors = (_per_group(packed, codes) for packed in (zero_points, multipliers))
    weight = _flat_groups(op.multiply(op.subtract(op.convert(codes, "f32"), zeros), factors))
    columns = node.get_attribute("columns")
    if columns == _padded(codes):
        return weight.outputs()
    return op.slice(weight, _ints(0), _ints(columns), _ints(1), _ints(1)).outputs()


def _levels(codes: Value) -> Any:
    """The product in groups that a `_widen_int4` ends with; None for codes that are stored as they are."""
    node = codes.get_node()
    if node.get_type_name() == "Slice":
        node = node.input_value(0).get_node()
    return node.input_value(0).get_node() if node.get_type_name() == "Reshape" else None


def _linear(node: Context) -> list[Value]:
    return _product(*_inputs(node, 3))


def _product(x: Value, weight: Value, bias: Value | None) -> list[Value]:
    y = op.matmul(x, weight, transpose_a=False, transpose_b=True)
    return (y if bias is None else op.add(y, bias)).outputs()


def _gather_quantized(node: Context) -> list[Value]:
    ids, codes, scales, zero_points = _inputs(node, 4)
    table = _dequantize(codes, scales, zero_points, node.get_attribute("bits"))
    return op.gather(table, ids, _int(0)).outputs()


def _dequantize(codes: Value, scales: Value, zero_points: Value | None, bits: int) -> Value:
    """Codes [rows, groups, group_size], scales [rows, groups, 1] -> float32 [rows, groups * group_size]"""
    middle = op.convert(Constant(codes.get_element_type(), Shape([1, 1, 1]), [1 << (bits - 1)]), "f32")
    zeros = middle if zero_points is None else _per_group(zero_points, codes)
    # In float32 and not in the scales' float16, where each product would be rounded to another number.
    return _flat_groups(op.multiply(op.subtract(op.convert(codes, "f32"), zeros), _as_float(scales)))


def _flat_groups(grouped: Any) -> Any:
    """[rows, groups, group_size] -> [rows, groups * group_size]"""
    rows, groups, group_size = (size.get_length() for size in grouped.get_output_partial_shape(0))
    return op.reshape(grouped, _ints(rows, groups * group_size), special_zero=False)


def _per_group(values: Value, codes: Value) -> Any:
    """4 or 8 bits for each group of codes [rows, groups, group_size], packed or not -> float32 [rows, groups, 1]"""
    if values.get_partial_shape().rank.get_length() == 3:
        return op.convert(values, "f32")
    return _unpack_rows(values, codes.get_partial_shape()[1].get_length())


def _unpack_rows(packed: Value, groups: int) -> Value:
    """uint8 [rows, ceil(groups / 2)], low half first -> [rows, groups, 1]; computed once, at load."""
    wide = op.convert(packed, "f32")
    high = op.floor(op.divide(wide, _float(16.0)))
    low = op.subtract(wide, op.multiply(high, _float(16.0)))
    pairs = op.concat([op.unsqueeze(low, _ints(2)), op.unsqueeze(high, _ints(2))], 2)
    flat = op.reshape(pairs, _ints(0, -1), special_zero=True)
    return op.unsqueeze(op.slice(flat, _ints(0), _ints(groups), _ints(1), _ints(1)), _ints(2))


def _padded(codes: Value) -> int:
    """Columns of a weight with those that fill its last group."""
    _, groups, group_size = codes.get_partial_shape()
    return int(groups.get_length() * group_size.get_length())


def _pad_columns(x: Value, count: int) -> Value:
    """Zeros for the columns that only fill a group; the weight keeps its form, which a slice of it would break."""
    if count == 0:
        return x
    rank = x.get_partial_shape().rank.get_length()
    return op.pad(x, _ints(*[0] * rank), _ints(*[0] * (rank - 1), count), "constant", _float(0.0))


def _as_float(x: Value) -> Value:
    return x if x.get_element_type() == Type.f32 else op.convert(x, "f32")


def _split_heads(x: Value, num_heads: int) -> Value:
    """[batch, tokens, num_heads * head_dim] -> [batch, num_heads, tokens, head_dim]; undoes a `_merge_heads`."""
    flat = x.get_node()
    if flat.get_type_name() == "Reshape":
        merged = flat.input_value(0).get_node()
        if merged.get_type_name() == "Transpose":
            source = merged.input_value(0)
            if source.get_partial_shape()[1] == num_heads:
                return source
    head_dim = x.get_partial_shape()[2].get_length() // num_heads
    return op.transpose(
        op.reshape(x, _ints(0, 0, num_heads, head_dim), special_zero=True), _ints(*_HEADS_FIRST)
    ).output(0)


def _merge_heads(x: Value) -> list[Value]:
    """[batch, num_heads, tokens, head_dim] -> [batch, tokens, num_heads * head_dim]"""
    shape = x.get_output_partial_shape(0)
    width = shape[1].get_length() * shape[3].get_length()
    flat = op.reshape(op.transpose(x, _ints(*_HEADS_FIRST)), _ints(0, 0, width), special_zero=True)
    return flat.outputs()


def _inputs(node: Context, count: int) -> list[Any]:
    """The first `count` inputs, None for those that the node does not have."""
    present = node.get_input_size()
    values = [node.get_input(index) if index < present else None for index in range(count)]
    return [None if value is None or value.get_node().get_type_name() == "NullNode" else value for value in values]


def _ints(*values: int) -> Any:
    return op.constant(np.array(values, np.int64))


def _int(value: int) -> Any:
    return op.constant(np.int64(value))


def _float(value: float) -> Any:
    return op.constant(np.float32(value))
