"""An ML Program as plain values: functions, operations, types, literals.

Field numbers are those of MIL.proto (apple/coremltools, mlmodel/format). What a program cannot do without is read; what
no reader needs (documentation strings, type attributes) is skipped.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nexus_edge.engines.coreml.mil.dtypes import BY_CODE, DType, unpack
from nexus_edge.engines.coreml.mil.wire import Message, WireError

MAX_RANK = 32  # numpy 1.x cannot hold more; Core ML holds 5
MAX_ELEMENTS = 2**34  # of one tensor; the largest weight of a 70 billion parameter model has 2**30

Literal = np.ndarray | str
"""A tensor, or a scalar of type string."""


@dataclass(frozen=True)
class TensorType:
    """Element type and sizes; None for a size that is known when the program runs."""

    dtype: DType
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.dtype.name} [{', '.join('?' if size is None else str(size) for size in self.shape)}]"


@dataclass(frozen=True)
class StateType:
    """A tensor that lives from call to call."""

    tensor: TensorType


@dataclass(frozen=True)
class BlobRef:
    """A constant in the weight file: its record's offset in bytes."""

    file: str
    offset: int


@dataclass(frozen=True)
class Constant:
    """A constant, with its elements here or in the weight file."""

    type: TensorType
    value: Literal | BlobRef


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        kind: MIL's name of it, such as `layer_norm`
        inputs: argument -> names of values, or constants; several where the argument is a tuple
        outputs: names and types of what it gives; an operation like `write_state` gives nothing
    """

    kind: str
    inputs: Mapping[str, tuple[str | Constant, ...]]
    outputs: tuple[tuple[str, TensorType], ...]
    label: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.outputs[0][0] if self.outputs else self.label})"


@dataclass(frozen=True)
class Function:
    """A function: operations in the order in which they run."""

    inputs: Mapping[str, TensorType | StateType]
    operations: Sequence[Operation]
    outputs: tuple[str, ...]


def read_program(program: Message) -> dict[str, Function]:
    """Functions by name, from a MILSpec.Program.

    Raises:
        WireError: it is no program, or has something that no tensor program has (lists, dictionaries, nested blocks).
    """
    return {name: _function(name, function) for name, function in program.mapping(2).items()}


def _function(name: str, function: Message) -> Function:
    blocks = function.mapping(3)
    opset = function.name(2)
    if opset not in blocks:
        raise WireError(f"function {name} has no block for its own opset {opset!r}")
    block = blocks[opset]
    return Function(
        {item.name(1): _value_type(item.message(2)) for item in function.messages(1)},
        [_operation(operation) for operation in block.messages(3)],
        tuple(block.names(2)),
    )


def _operation(operation: Message) -> Operation:
    attributes = {key: (_constant(value),) for key, value in operation.mapping(5).items()}
    label = _label(attributes.pop("name", ()))
    inputs = {key: tuple(_binding(item) for item in value.messages(1)) for key, value in operation.mapping(2).items()}
    outputs = [(item.name(1), _value_type(item.message(2))) for item in operation.messages(3)]
    kind = operation.name(1)
    if 4 in operation:
        raise WireError(f"operation {kind} has blocks of its own; control flow is not supported")
    return Operation(
        kind,
        # Until iOS 16 the arguments of a compressed constant are attributes, from iOS 18 on inputs.
        {**attributes, **inputs},
        tuple((name, type_) for name, type_ in outputs if isinstance(type_, TensorType)),
        label,
    )


def _label(name: tuple[Constant, ...]) -> str:
    """Operations without outputs have nothing else to be called by."""
    return name[0].value if name and isinstance(name[0].value, str) and name[0].value.isprintable() else "unnamed"


def _binding(binding: Message) -> str | Constant:
    return _constant(binding.message(2)) if 2 in binding else binding.name(1)


def _value_type(value_type: Message) -> TensorType | StateType:
    if 5 in value_type:
        wrapped = _value_type(value_type.message(5).message(1))
        if isinstance(wrapped, TensorType):
            return StateType(wrapped)
    elif 1 in value_type:
        return _tensor_type(value_type.message(1))
    raise WireError("a value is neither a tensor nor a state of one")


def _tensor_type(tensor: Message) -> TensorType:
    code, rank, dimensions = tensor.integer(1), tensor.integer(2), tensor.messages(3)
    if code not in BY_CODE:
        raise WireError(f"a tensor has the unknown element type {code}")
    if rank != len(dimensions) or rank > MAX_RANK:
        raise WireError(f"a tensor of rank {rank} has {len(dimensions)} dimensions")
    shape = tuple(dimension.message(1).integer(1) if 1 in dimension else None for dimension in dimensions)
    fixed = [size for size in shape if size is not None]
    if min(fixed, default=0) < 0 or math.prod(fixed) > MAX_ELEMENTS:
        raise WireError(f"a tensor has the impossible shape {shape}")
    return TensorType(BY_CODE[code], shape)


def _constant(value: Message) -> Constant:
    type_ = _value_type(value.message(2))
    if not isinstance(type_, TensorType) or None in type_.shape:
        raise WireError("a constant is no tensor of a fixed shape")
    if 5 in value:
        blob = value.message(5)
        return Constant(type_, BlobRef(blob.name(1), blob.integer(2)))
    return Constant(type_, _literal(value.message(3).message(1), type_))


def _literal(tensor: Message, type_: TensorType) -> Literal:
    """A TensorValue: which of its fields holds the elements follows from the element type."""
    dtype, shape = type_.dtype, [size for size in type_.shape if size is not None]
    count = math.prod(shape)
    values: np.ndarray
    match dtype.name:
        case "string":
            texts = tensor.message(4).texts(1)
            if shape or len(texts) != 1:
                raise WireError("a list of texts as a constant is not supported")
            return texts[0]
        case "fp32":
            values = tensor.message(1).numbers(1, np.dtype(np.float32))
        case "bool":
            values = np.array(tensor.message(3).integers(1), bool)
        case "int32" | "int16" | "uint16" | "int64":
            items = tensor.message(5 if dtype.name == "int64" else 2).integers(1)
            low, high = dtype.bounds
            if any(not low <= item <= high for item in items):
                raise WireError(f"a constant does not fit into {dtype.name}")
            values = np.array(items, dtype.storage)
        case _:
            values = _from_bytes(tensor.message(7).raw(1), dtype, count)
    if values.size != count:
        raise WireError(f"a constant of {count} elements has {values.size}")
    return values.reshape(shape)


def _from_bytes(raw: memoryview, dtype: DType, count: int) -> np.ndarray:
    if len(raw) != -(-count * dtype.bits // 8):
        raise WireError(f"a constant of {count} elements of {dtype.name} has {len(raw)} bytes")
    if dtype.bits < 8:
        return unpack(np.frombuffer(raw, np.uint8), dtype, count)
    return np.frombuffer(raw, dtype.storage.newbyteorder("<")).astype(dtype.storage)
