"""Every custom op becomes one ONNX node of the same name, which `operators` turns into OpenVINO's operators.

ONNX is only the way there: what OpenVINO reads of ONNX Runtime's own operators it does not fuse, or cannot save.
"""

from typing import Any

import torch
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
from nexus_edge.targets.onnx.lowering import TranslationTable, Value
from nexus_edge.targets.onnx.schemas import Operator

DOMAIN = "nexus"

OPERATORS = (
    Operator("rms_norm", 2, 0, 1, (), ("eps",), DOMAIN),
    Operator("rotary", 3, 0, 1, ("num_heads",), domain=DOMAIN),
    Operator("attention", 3, 1, 1, ("num_heads",), domain=DOMAIN),
    Operator("cached_attention", 6, 0, 3, ("num_heads", "num_kv_heads", "window"), domain=DOMAIN),
    Operator("matmul_nbits", 3, 2, 1, ("bits", "group_size"), domain=DOMAIN),
    Operator("matmul_int8", 3, 1, 1, (), domain=DOMAIN),
    Operator("widen_int4", 3, 0, 1, ("columns",), domain=DOMAIN),
    Operator("gather_quantized", 3, 1, 1, ("bits", "group_size"), domain=DOMAIN),
    Operator("linear", 2, 1, 1, (), domain=DOMAIN),
)


def translation_table() -> TranslationTable:
    """Custom op -> the function that records its node."""
    schemas.register(OPERATORS)
    nexus = torch.ops.nexus
    return {
        nexus.rms_norm.default: _rms_norm,
        nexus.rotary.default: _rotary,
        nexus.attention.default: _attention,
        nexus.cached_attention.default: _cached_attention,
        nexus.matmul_nbits.default: _matmul_nbits,
        nexus.matmul_int8.default: _matmul_int8,
        nexus.widen_int4.default: _widen_int4,
        nexus.gather_quantized.default: _gather_quantized,
        torch.ops.aten.linear.default: _linear,
    }


def _op() -> Any:
    return Opset(DOMAIN, 1)


def _rms_norm(x: Value, weight: Value, eps: float) -> Value:
    return _op().rms_norm(x, weight, eps=eps)


def _rotary(x: Value, cos: Value, sin: Value, num_heads: int) -> Value:
    return _op().rotary(x, cos, sin, num_heads=num_heads)


def _attention(query: Value, key: Value, value: Value, num_heads: int, visible: Value | None = None) -> Value:
    return _op().attention(query, key, value, visible, num_heads=num_heads)


def _cached_attention(
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
    return _op().cached_attention(
        query,
        key,
        value,
        past_key,
        past_value,
        attention_mask,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        window=window,
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
    # What the input is rounded to is no property of an IR: the plugin decides, see DYNAMIC_QUANTIZATION_GROUP_SIZE.
    return _op().matmul_nbits(x, qweight, scales, zero_points, bias, bits=bits, group_size=group_size)


def _matmul_int8(x: Value, qweight: Value, scales: Value, bias: Value | None) -> Value:
    return _op().matmul_int8(x, qweight, scales, bias)


def _widen_int4(qweight: Value, multipliers: Value, zero_points: Value, columns: int) -> Value:
    return _op().widen_int4(qweight, multipliers, zero_points, columns=columns)


def _linear(x: Value, weight: Value, bias: Value | None = None) -> Value:
    return _op().linear(x, weight, bias)


def _gather_quantized(
    ids: Value, qweight: Value, scales: Value, zero_points: Value | None, bits: int, group_size: int
) -> Value:
    return _op().gather_quantized(ids, qweight, scales, zero_points, bits=bits, group_size=group_size)
