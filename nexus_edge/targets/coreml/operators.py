"""The custom ops in MIL, Core ML's intermediate language.

coremltools translates the rest. It builds every program in float32 and turns it into float16 afterwards; a product with
a compressed weight is float16 from the start, and the casts around it meet those of that pass and go.
"""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from coremltools.converters.mil import mil
from coremltools.converters.mil._deployment_compatibility import AvailableTarget
from coremltools.converters.mil.frontend.torch.ops import _get_inputs
from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY
from coremltools.converters.mil.mil.block import is_current_opset_version_compatible_with
from coremltools.converters.mil.mil.var import Var
from torch import fx

from nexus_edge.checkpoints.base import Array
from nexus_edge.errors import InputError
from nexus_edge.targets.coreml.constants import (
    grouped_weight,
    has_blocks,
    rows_weight,
    table_of_groups,
    two_level_weight,
)
from nexus_edge.targets.coreml.masking import MASKED

_HEADS_FIRST = [0, 2, 1, 3]
_SUM_OF_SQUARES = 32768.0  # half of what float16 holds

mb: Any = mil.Builder
Context = Any  # coremltools' table of what was translated
Node = Any  # a node of torch's graph

_narrow: "WeakKeyDictionary[Context, dict[str, tuple[Array, Array, Array]]]" = WeakKeyDictionary()
"""Of a translation that is going on: node of `widen_int4` -> its codes, multipliers and zero points"""


def register() -> None:
    """Tell coremltools' torch frontend about the custom ops; again and again does no harm."""
    for name, convert in _CONVERTERS.items():
        _TORCH_OPS_REGISTRY.set_func_by_name(convert, name)


def require_known(graph: fx.Graph) -> None:
    """Say at once, and not when everything is quantized, that Core ML cannot hold a graph.

    Raises:
        InputError: an operator is unknown; it and its layer are named
    """
    register()
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        kind = node.target.name() if hasattr(node.target, "name") else node.target.__name__
        if _TORCH_OPS_REGISTRY.get_func(kind) is None:
            raise InputError(
                f"{_layer(node)}: Core ML has no operator for {kind}; write one in targets/coreml/operators.py"
            )


def _alias(context: Context, node: Node) -> None:
    (x,) = _get_inputs(context, node, expected=1)
    context.add(x, torch_name=node.name)


def _rms_norm(context: Context, node: Node) -> None:
    """Scaled so that the squares of a vector add up to a float16 whatever its largest element: x / rms(x) stays."""
    x, weight, eps = _get_inputs(context, node, expected=3)
    hidden = x.shape[-1]
    top = float(2.0 ** np.floor(np.log2(np.sqrt(_SUM_OF_SQUARES / hidden))))  # the largest element becomes this
    peak = mb.maximum(x=mb.reduce_max(x=mb.abs(x=x), axes=[-1], keep_dims=True), y=np.float32(2.0**-7))
    scale = mb.real_div(x=np.float32(top), y=peak)
    scaled = mb.mul(x=x, y=scale)
    mean = mb.reduce_mean(x=mb.mul(x=scaled, y=scaled), axes=[-1], keep_dims=True)
    root_eps = mb.mul(x=scale, y=np.float32(np.sqrt(eps.val)))
    inverse = mb.rsqrt(x=mb.add(x=mean, y=mb.mul(x=root_eps, y=root_eps)), epsilon=0.0)
    context.add(mb.mul(x=mb.mul(x=scaled, y=inverse), y=weight, name=node.name))


def _rotary(context: Context, node: Node) -> None:
    x, cos, sin, num_heads = _get_inputs(context, node, expected=4)
    batch, tokens, width = x.shape
    heads = mb.reshape(x=x, shape=[batch, tokens, num_heads.val, width // num_heads.val])
    first, second = mb.split(x=heads, num_splits=2, axis=-1)
    cos, sin = (mb.expand_dims(x=table, axes=[2]) for table in (cos, sin))
    turned = mb.concat(
        values=[
            mb.sub(x=mb.mul(x=first, y=cos), y=mb.mul(x=second, y=sin)),
            mb.add(x=mb.mul(x=second, y=cos), y=mb.mul(x=first, y=sin)),
        ],
        axis=-1,
    )
    context.add(mb.reshape(x=turned, shape=[batch, tokens, width], name=node.name))


def _attention(context: Context, node: Node) -> None:
    inputs = _get_inputs(context, node, expected=[4, 5])
    heads = int(inputs[3].val)
    query, key, value = (_split_heads(x, heads) for x in inputs[:3])
    bias = None
    if len(inputs) == 5 and inputs[4] is not None:
        visible = mb.cast(x=mb.expand_dims(x=inputs[4], axes=[1, 2]), dtype="fp32")
        bias = mb.mul(x=mb.sub(x=np.float32(1), y=visible), y=np.float32(MASKED))
    context.add(_merge_heads(_attend(query, key, value, bias), node.name))


def _state_attention(context: Context, node: Node) -> None:
    query, key, value, key_cache, value_cache, position, bias, num_heads, num_kv_heads = _get_inputs(
        context, node, expected=9
    )
    heads, kv_heads = int(num_heads.val), int(num_kv_heads.val)
    tokens = query.shape[1]
    end = mb.add(x=position, y=np.int32(tokens))
    caches = []
    for cache, new in ((key_cache, key), (value_cache, value)):
        _, _, _, head_dim = cache.shape
        zero, last = np.zeros(1, np.int32), np.array([head_dim], np.int32)
        caches.append(
            mb.slice_update(
                x=cache,
                update=_split_heads(new, kv_heads),
                begin=mb.concat(values=[zero, zero, position, zero], axis=0),
                end=mb.concat(values=[zero + 1, zero + kv_heads, end, last], axis=0),
            )
        )
    keys, values = (_repeat_heads(cache, heads // kv_heads) for cache in caches)
    attended = _merge_heads(_attend(_split_heads(query, heads), keys, values, bias), f"{node.name}_context")
    context.add((attended, *caches), torch_name=node.name)


def _attend(query: Var, key: Var, value: Var, bias: Var | None) -> Var:
    """[batch, heads, queries, head_dim], [batch, heads, tokens, head_dim] -> as `query`; one op from iOS 18 on."""
    if is_current_opset_version_compatible_with(AvailableTarget.iOS18):
        return mb.scaled_dot_product_attention(query=query, key=key, value=value, attn_mask=bias)
    # Scaled before the product and not after: float16 has no room for the scores of a wide head.
    query = mb.mul(x=query, y=np.float32(query.shape[-1] ** -0.5))
    scores = mb.matmul(x=query, y=key, transpose_y=True)
    if bias is not None:
        scores = mb.add(x=scores, y=bias)
    return mb.matmul(x=mb.softmax(x=scores, axis=-1), y=value)


def _matmul_nbits(context: Context, node: Node) -> None:
    # What the input is rounded to is ONNX Runtime's; Core ML multiplies float16.
    x, codes, scales, zero_points, bias, bits, _, _ = _get_inputs(context, node, expected=8)
    zeros = None if zero_points is None else zero_points.val
    weight = grouped_weight(codes.val, scales.val, zeros, int(bits.val), _layer(node))
    context.add(_product(_fill_up(x, weight), weight, bias, node.name))


def _widen_int4(context: Context, node: Node) -> None:
    """Nothing is widened: Core ML keeps the 4 bits, and `_matmul_int8` makes one scale of the two levels."""
    codes, multipliers, zero_points, _ = _get_inputs(context, node, expected=4)
    _narrow.setdefault(context, {})[node.name] = (codes.val, multipliers.val, zero_points.val)
    context.add(codes, torch_name=node.name)


def _matmul_int8(context: Context, node: Node) -> None:
    x, codes, scales, bias = _get_inputs(context, node, expected=4)
    narrow = _narrow.get(context, {}).get(node.inputs[1])
    if narrow is None:
        weight = rows_weight(codes.val, scales.val, _layer(node))
    else:
        weight = two_level_weight(*narrow, scales.val, _layer(node))
    context.add(_product(_fill_up(x, weight), weight, bias, node.name))


def _gather_quantized(context: Context, node: Node) -> None:
    ids, codes, scales, zero_points, bits, _ = _get_inputs(context, node, expected=6)
    stored = (codes.val, scales.val, None if zero_points is None else zero_points.val, int(bits.val), _layer(node))
    if has_blocks():
        rows = mb.gather(x=grouped_weight(*stored), indices=ids, axis=0)
    else:
        groups = scales.shape[1]
        first = mb.expand_dims(x=mb.mul(x=ids, y=np.int32(groups)), axes=[-1])
        indices = mb.add(x=first, y=np.arange(groups, dtype=np.int32))
        parts = mb.gather(x=table_of_groups(*stored), indices=indices, axis=0)
        rows = mb.reshape(x=parts, shape=[*ids.shape, groups * parts.shape[-1]])
    context.add(mb.cast(x=rows, dtype="fp32", name=node.name))


def _fill_up(x: Var, weight: Var) -> Var:
    """Zeros for the columns that only fill the last group of a weight."""
    missing = weight.shape[1] - x.shape[-1]
    return mb.pad(x=x, pad=[0] * (2 * x.rank - 1) + [missing]) if missing else x


def _product(x: Var, weight: Var, bias: Var | None, name: str) -> Var:
    offset = None if bias is None else bias.val.astype(np.float16)
    y = mb.linear(x=mb.cast(x=x, dtype="fp16"), weight=weight, bias=offset)
    return mb.cast(x=y, dtype="fp32", name=name)


def _split_heads(x: Var, heads: int) -> Var:
    """[batch, tokens, heads * head_dim] -> [batch, heads, tokens, head_dim]"""
    batch, tokens, width = x.shape
    return mb.transpose(x=mb.reshape(x=x, shape=[batch, tokens, heads, width // heads]), perm=_HEADS_FIRST)


def _merge_heads(x: Var, name: str) -> Var:
    """[batch, heads, tokens, head_dim] -> [batch, tokens, heads * head_dim]"""
    batch, heads, tokens, head_dim = x.shape
    return mb.reshape(x=mb.transpose(x=x, perm=_HEADS_FIRST), shape=[batch, tokens, heads * head_dim], name=name)


def _repeat_heads(x: Var, times: int) -> Var:
    """[1, kv_heads, tokens, head_dim] -> [1, kv_heads * times, tokens, head_dim]"""
    if times == 1:
        return x
    _, kv_heads, tokens, head_dim = x.shape
    wide = mb.tile(x=mb.expand_dims(x=x, axes=[2]), reps=[1, 1, times, 1, 1])
    return mb.reshape(x=wide, shape=[1, kv_heads * times, tokens, head_dim])


def _layer(node: Node) -> str:
    """The module that a node of torch's graph stands for, as the checkpoint names it."""
    stack = (node.meta or {}).get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return (str(paths[-1]).removeprefix("root.") if paths else "") or str(node.name)


_CONVERTERS: dict[str, Callable[[Context, Node], None]] = {
    "nexus::rms_norm": _rms_norm,
    "nexus::rotary": _rotary,
    "nexus::attention": _attention,
    "nexus::state_attention": _state_attention,
    "nexus::matmul_nbits": _matmul_nbits,
    "nexus::matmul_int8": _matmul_int8,
    "nexus::widen_int4": _widen_int4,
    "nexus::gather_quantized": _gather_quantized,
    "alias": _alias,  # an operator of torch's that coremltools does not know
}
