"""How each custom op is written in ONNX: one function per op, in the form that `torch.onnx.export` takes.

Norms and rotary embedding are operators of opset 23. Attention over a cache is GroupQueryAttention, the fastest in ONNX
Runtime, which can keep the cache in one buffer that grows in place.
"""

from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset23
from onnxscript.values import Opset

# Importing these registers the ops that the table below names.
import nexus_edge.ops.attention
import nexus_edge.ops.gather_quantized
import nexus_edge.ops.matmul_int8
import nexus_edge.ops.matmul_nbits
import nexus_edge.ops.norms
import nexus_edge.ops.rotary
import nexus_edge.ops.widen_int4  # noqa: F401
from nexus_edge.targets.onnx import schemas

OPSET = 23
_FLOAT, _INT32 = ir.DataType.FLOAT, ir.DataType.INT32
_LARGEST_INT8 = 127
# Attention holds all scores, [batch, heads, tokens, tokens], and is up to twice as fast with them;
# MultiHeadAttention never holds them, which beyond this costs no time (CLIP's 577 tokens) and saves 21 MB a crop.
_MOST_TOKENS_WITH_SCORES = 512

Value = Any  # a value of the graph under construction
TranslationTable = dict[Callable[..., Any], Callable[..., Any]]
"""Operator of torch -> the function that records its ONNX form."""
op: Any = opset23  # its annotations describe eager tensors, not the values that are recorded here


def translation_table() -> TranslationTable:
    """Custom op -> the function that records its ONNX form."""
    schemas.register((*schemas.CONTRIB, schemas.NIBBLES))
    nexus = torch.ops.nexus
    return {
        nexus.rms_norm.default: _rms_norm,
        nexus.rotary.default: _rotary,
        nexus.attention.default: _attention,
        nexus.cached_attention.default: _group_query_attention,
        nexus.matmul_nbits.default: _matmul_nbits,
        nexus.matmul_int8.default: _matmul_int8,
        nexus.widen_int4.default: _widen_int4,
        nexus.gather_quantized.default: _gather_quantized,
        torch.ops.aten.linear.default: _linear,
    }


def _contrib() -> Opset:
    return Opset(schemas.DOMAIN, 1)


def _rms_norm(x: Value, weight: Value, eps: float) -> Value:
    return op.RMSNormalization(x, weight, axis=-1, epsilon=eps)


def _rotary(x: Value, cos: Value, sin: Value, num_heads: int) -> Value:
    return op.RotaryEmbedding(x, cos, sin, num_heads=num_heads)


def _attention(query: Value, key: Value, value: Value, num_heads: int, visible: Value | None = None) -> Value:
    tokens = key.shape[1]
    if visible is None and isinstance(tokens, int) and tokens > _MOST_TOKENS_WITH_SCORES:
        return _contrib().MultiHeadAttention(query, key, value, num_heads=num_heads)
    mask = None
    if visible is not None:
        # The kernel wants a row for each query: bool [batch, tokens] -> [batch, 1, queries, tokens]
        one = op.Constant(value_ints=[1])
        size = op.Concat(one, one, op.Shape(query, start=1, end=2), one, axis=0)
        mask = op.Expand(op.Unsqueeze(visible, op.Constant(value_ints=[1, 2])), size)
    return op.Attention(query, key, value, mask, q_num_heads=num_heads, kv_num_heads=num_heads)[0]


def _group_query_attention(
    query: Value,
    key: Value,
    value: Value,
    past_key: Value,
    past_value: Value,
    attention_mask: Value,
    num_heads: int,
    num_kv_heads: int,
    window: int,
) -> Value:
    # The kernel wants the index of each sequence's last token, and the length of the longest.
    last = op.Sub(op.ReduceSum(attention_mask, op.Constant(value_ints=[1]), keepdims=0), op.Constant(value_int=1))
    total = op.Squeeze(op.Shape(attention_mask, start=1, end=2))
    return _contrib().GroupQueryAttention(
        query,
        key,
        value,
        past_key,
        past_value,
        op.Cast(last, to=_INT32),
        op.Cast(total, to=_INT32),
        num_heads=num_heads,
        kv_num_heads=num_kv_heads,
        # The kernel counts the token itself as part of its window.
        local_window_size=window + 1 if window >= 0 else -1,
    )


def _matmul_nbits(
    x: Value,
    qweight: Value,
    scales: Value,
    zero_points: Value | None,
    bias: Value | None,
    bits: int,
    group_size: int,
    activation_bits: int,
) -> Value:
    return _contrib().MatMulNBits(
        x,
        qweight,
        op.Cast(scales, to=_FLOAT),
        zero_points,
        None,  # g_idx: ONNX Runtime 1.32 ignores packed zero points beside it
        bias,
        K=x.shape[-1],
        N=qweight.shape[0],
        bits=bits,
        block_size=group_size,
        accuracy_level=4 if activation_bits == 8 else 1,
    )


def _matmul_int8(x: Value, qweight: Value, scales: Value, bias: Value | None) -> Value:
    rows, columns = qweight.shape
    flat = op.Reshape(x, op.Constant(value_ints=[-1, columns]))
    peak = op.ReduceMax(op.Abs(flat), op.Constant(value_ints=[-1]), keepdims=0)
    # A token of zeros gets a step of 0 and arbitrary codes, which the same 0 makes vanish from its result.
    step = op.Mul(peak, op.Constant(value_float=1.0 / _LARGEST_INT8))
    # Unsigned codes around 128: of all pairs of types, x86 has fast kernels for this one alone.
    middle = op.Cast(op.Constant(value_int=128), to=ir.DataType.UINT8)
    lead = op.Shape(x, end=-1)
    codes = op.QuantizeLinear(flat, step, op.Expand(middle, op.ReduceProd(lead)), axis=0)
    # All zero, and yet a tensor of each product's own: ONNX Runtime turns signed weights into unsigned ones on x86
    # without VNNI, whose products of int8 saturate, and cannot do that to one zero point of several products.
    scales = op.Cast(scales, to=_FLOAT)
    zeros = op.Cast(op.Mul(scales, op.Constant(value_float=0.0)), to=ir.DataType.INT8)
    # QGemm reads the weight as it is stored; the other integer products want it transposed, a second copy at load.
    one = op.Constant(value_float=1.0)
    product = _contrib().QGemm(codes, one, middle, qweight, scales, zeros, None, None, None, transB=1)
    # One scale per token, where the kernel knows one for all.
    y = op.Mul(product, op.Unsqueeze(step, op.Constant(value_ints=[-1])))
    y = op.Reshape(y, op.Concat(lead, op.Constant(value_ints=[rows]), axis=0))
    return y if bias is None else op.Add(y, bias)


def _widen_int4(qweight: Value, multipliers: Value, zero_points: Value, columns: int) -> Value:
    # Nothing but constants: ONNX Runtime computes this once, at load. In int8, because it then holds the result of
    # every node for all weights at the same time.
    rows, groups, half = qweight.shape

    def per_group(packed: Value) -> Value:
        values = op.Cast(_nibbles(packed), to=ir.DataType.INT8)
        if groups % 2:
            start, end, axis = (op.Constant(value_ints=[at]) for at in (0, groups, 1))
            values = op.Slice(values, start, end, axis)
        return op.Unsqueeze(values, op.Constant(value_ints=[-1]))

    codes = op.Cast(_nibbles(qweight), to=ir.DataType.INT8)
    wide = op.Mul(op.Sub(codes, per_group(zero_points)), per_group(multipliers))
    flat = op.Reshape(wide, op.Constant(value_ints=[rows, groups * half * 2]))
    if columns == groups * half * 2:
        return flat
    start, end, axis = (op.Constant(value_ints=[at]) for at in (0, columns, 1))
    return op.Slice(flat, start, end, axis)


def _nibbles(packed: Value) -> Value:
    return Opset(schemas.NIBBLES.domain, 1).Nibbles(packed)


def _linear(x: Value, weight: Value, bias: Value | None = None) -> Value:
    # MatMul wants the weight transposed: a second copy of it at load, and four times the load time.
    y = _contrib().FusedMatMul(x, weight, transB=1)
    return y if bias is None else op.Add(y, bias)


def _gather_quantized(
    ids: Value, qweight: Value, scales: Value, zero_points: Value | None, bits: int, group_size: int
) -> Value:
    entries = qweight.shape[0]
    rows = op.Reshape(qweight, op.Constant(value_ints=[entries, -1]))
    return _contrib().GatherBlockQuantized(
        rows,
        ids,
        op.Cast(scales, to=_FLOAT),
        zero_points,
        gather_axis=0,
        quantize_axis=1,
        block_size=group_size,
        bits=bits,
    )
