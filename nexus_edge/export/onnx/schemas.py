"""Schemas of ONNX Runtime's own operators, as far as the lowering calls them.

onnxscript refuses to record a call to an operator without a schema, and the `onnx` package knows only the
standard ones. Source: ContribOperators.md of ONNX Runtime 1.32.
"""

from dataclasses import dataclass

import onnx
from onnx.defs import OpSchema

DOMAIN = "com.microsoft"

_FLOATS = ["tensor(float)", "tensor(float16)"]
_ANY = [*_FLOATS, "tensor(uint8)", "tensor(int8)", "tensor(int32)", "tensor(int64)"]


@dataclass(frozen=True)
class _Operator:
    """`required` and `optional` count the inputs; attributes are integers unless listed as floats."""

    name: str
    required: int
    optional: int
    outputs: int
    integers: tuple[str, ...]
    floats: tuple[str, ...] = ()


_OPERATORS = (
    _Operator("MatMulNBits", 3, 3, 1, ("K", "N", "bits", "block_size", "accuracy_level")),
    _Operator("GatherBlockQuantized", 3, 1, 1, ("gather_axis", "quantize_axis", "block_size", "bits")),
    _Operator("QGemm", 6, 3, 1, ("transA", "transB")),
    _Operator("FusedMatMul", 2, 0, 1, ("transA", "transB")),
    _Operator("MultiHeadAttention", 3, 2, 1, ("num_heads",)),
    _Operator("GroupQueryAttention", 7, 0, 3, ("num_heads", "kv_num_heads", "local_window_size")),
)


def register() -> None:
    """Make the operators known to `onnx`; calling it again does nothing."""
    for operator in _OPERATORS:
        if not onnx.defs.has(operator.name, DOMAIN):
            onnx.defs.register_schema(_schema(operator))


def _schema(operator: _Operator) -> OpSchema:
    parameter, option = OpSchema.FormalParameter, OpSchema.FormalParameterOption
    count = operator.required + operator.optional
    return OpSchema(
        operator.name,
        DOMAIN,
        1,
        inputs=[
            parameter(f"input_{i}", f"I{i}", param_option=option.Single if i < operator.required else option.Optional)
            for i in range(count)
        ],
        outputs=[parameter(f"output_{i}", "O") for i in range(operator.outputs)],
        type_constraints=[(f"I{i}", _ANY, "") for i in range(count)] + [("O", _FLOATS, "")],
        attributes=[OpSchema.Attribute(name, OpSchema.AttrType.INT, required=False) for name in operator.integers]
        + [OpSchema.Attribute(name, OpSchema.AttrType.FLOAT, required=False) for name in operator.floats],
    )
