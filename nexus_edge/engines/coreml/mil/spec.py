"""An ML Program as plain values: functions, operations, types, literals.

What a program cannot do without is read; what no reader needs (documentation strings, type attributes) is skipped.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nexus_edge.engines.coreml.mil.dtypes import BY_CODE, DType, unpack
from nexus_edge.engines.coreml.mil.schema import Message, SpecError, entries, name

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
        SpecError: it is no program, or has something that no tensor program has (lists, dictionaries, nested blocks).
    """
    return {key: _function(key, function) for key, function in entries(program.functions)}


def _function(called: str, function: Message) -> Function:
    opset = name(function.opset)
    if opset not in function.block_specializations:
        raise SpecError(f"function {called} has no block for its own opset {opset!r}")
    block = function.block_specializations[opset]
    return Function(
        {name(item.name): _value_type(item.type) for item in function.inputs},
        [_operation(operation) for operation in block.operations],
        tuple(map(name, block.outputs)),
    )


def _operation(operation: Message) -> Operation:
    attributes = {key: (_constant(value),) for key, value in entries(operation.attributes)}
    label = _label(attributes.pop("name", ()))
    inputs = {key: tuple(map(_binding, value.arguments)) for key, value in entries(operation.inputs)}
    outputs = [(name(item.name), _value_type(item.type)) for item in operation.outputs]
    kind = name(operation.type)
    if operation.blocks:
        raise SpecError(f"operation {kind} has blocks of its own; control flow is not supported")
    return Operation(
        kind,
        # Until iOS 16 the arguments of a compressed constant are attributes, from iOS 18 on inputs.
        {**attributes, **inputs},
        tuple((output, type_) for output, type_ in outputs if isinstance(type_, TensorType)),
        label,
    )


def _label(given: tuple[Constant, ...]) -> str:
    """Operations without outputs have nothing else to be called by."""
    return given[0].value if given and isinstance(given[0].value, str) and given[0].value.isprintable() else "unnamed"


def _binding(binding: Message) -> str | Constant:
    return _constant(binding.value) if binding.HasField("value") else name(binding.name)


def _value_type(value_type: Message) -> TensorType | StateType:
    if value_type.HasField("stateType"):
        wrapped = _value_type(value_type.stateType.wrappedType)
        if isinstance(wrapped, TensorType):
            return StateType(wrapped)
    elif value_type.HasField("tensorType"):
        return _tensor_type(value_type.tensorType)
    raise SpecError("a value is neither a tensor nor a state of one")


def _tensor_type(tensor: Message) -> TensorType:
    code, rank, dimensions = tensor.dataType, tensor.rank, tensor.dimensions
    if code not in BY_CODE:
        raise SpecError(f"a tensor has the unknown element type {code}")
    if rank != len(dimensions) or rank > MAX_RANK:
        raise SpecError(f"a tensor of rank {rank} has {len(dimensions)} dimensions")
    shape = tuple(one.constant.size if one.HasField("constant") else None for one in dimensions)
    if (
        math.prod(size for size in shape if size is not None) > MAX_ELEMENTS
        or max(filter(None, shape), default=0) >> 63
    ):
        raise SpecError(f"a tensor has the impossible shape {shape}")
    return TensorType(BY_CODE[code], shape)


def _constant(value: Message) -> Constant:
    type_ = _value_type(value.type)
    if not isinstance(type_, TensorType) or None in type_.shape:
        raise SpecError("a constant is not a tensor of fixed shape")
    if value.HasField("blobFileValue"):
        blob = value.blobFileValue
        return Constant(type_, BlobRef(name(blob.fileName), blob.offset))
    return Constant(type_, _literal(value.immediateValue.tensor, type_))


def _literal(tensor: Message, type_: TensorType) -> Literal:
    """A TensorValue: which of its fields holds the elements follows from the element type."""
    dtype, shape = type_.dtype, [size for size in type_.shape if size is not None]
    count = math.prod(shape)
    values: np.ndarray
    match dtype.name:
        case "string":
            texts = tensor.strings.values
            if shape or len(texts) != 1:
                raise SpecError("a list of texts as a constant is not supported")
            text: str = texts[0]
            return text
        case "fp32":
            values = np.array(tensor.floats.values, np.float32)
        case "bool":
            values = np.array(tensor.bools.values, bool)
        case "int32" | "int16" | "uint16" | "int64":
            items = (tensor.longInts if dtype.name == "int64" else tensor.ints).values
            low, high = dtype.bounds
            if any(not low <= item <= high for item in items):
                raise SpecError(f"a constant does not fit into {dtype.name}")
            values = np.array(items, dtype.storage)
        case _:
            values = _from_bytes(tensor.bytes.values, dtype, count)
    if values.size != count:
        raise SpecError(f"a constant of {count} elements has {values.size}")
    return values.reshape(shape)


def _from_bytes(raw: bytes, dtype: DType, count: int) -> np.ndarray:
    if len(raw) != -(-count * dtype.bits // 8):
        raise SpecError(f"a constant of {count} elements of {dtype.name} has {len(raw)} bytes")
    if dtype.bits < 8:
        return unpack(np.frombuffer(raw, np.uint8), dtype, count)
    return np.frombuffer(raw, dtype.storage.newbyteorder("<")).astype(dtype.storage)
