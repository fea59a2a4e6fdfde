"""Schemas of operators outside of the standard, as far as a lowering calls them.

onnxscript refuses to record a call to an operator without a schema, and the `onnx` package knows only the
standard ones. Source: ContribOperators.md of ONNX Runtime 1.32.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import onnx
from onnx.defs import OpSchema

DOMAIN = "com.microsoft"

_FLOATS = ["tensor(float)", "tensor(float16)"]
_ANY = [*_FLOATS, "tensor(bool)", "tensor(uint8)", "tensor(int8)", "tensor(int32)", "tensor(int64)"]


@dataclass(frozen=True)
class Operator:
    """`required` and `optional` count the inputs; attributes are integers unless listed as floats."""

    name: str
    required: int
    optional: int
    outputs: int
    integers: tuple[str, ...]
    floats: tuple[str, ...] = ()
    domain: str = DOMAIN


CONTRIB = (
    Operator("MatMulNBits", 3, 3, 1, ("K", "N", "bits", "block_size", "accuracy_level")),
    Operator("GatherBlockQuantized", 3, 1, 1, ("gather_axis", "quantize_axis", "block_size", "bits")),
    Operator("QGemm", 6, 3, 1, ("transA", "transB")),
    Operator("FusedMatMul", 2, 0, 1, ("transA", "transB")),
    Operator("MultiHeadAttention", 3, 2, 1, ("num_heads",)),
    Operator("GroupQueryAttention", 7, 0, 3, ("num_heads", "kv_num_heads", "local_window_size")),
)

NIBBLES = Operator("Nibbles", 1, 0, 1, (), domain="nexus.passes")
"""A note for `passes.view_nibbles`: uint8 [..., n] seen as uint4 [..., 2 * n]."""


def register(operators: Iterable[Operator]) -> None:
    """Make the operators known to `onnx`; calling it again does nothing."""
    for operator in operators:
        if not onnx.defs.has(operator.name, operator.domain):
            onnx.defs.register_schema(_schema(operator))


def _schema(operator: Operator) -> OpSchema:
    parameter, option = OpSchema.FormalParameter, OpSchema.FormalParameterOption
    count = operator.required + operator.optional
    return OpSchema(
        operator.name,
        operator.domain,
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
