"""One run of a function: operation by operation, each result checked against the type that the file declares for it."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from typing import Literal as OneOf

import numpy as np

from nexus_edge.engines.coreml.mil.dtypes import DType
from nexus_edge.engines.coreml.mil.ops.states import Slot
from nexus_edge.engines.coreml.mil.registry import Array, Entry, operators
from nexus_edge.engines.coreml.mil.spec import BlobRef, Constant, Function, Literal, Operation, TensorType
from nexus_edge.errors import BundleError

ComputePrecision = OneOf["fp32", "fp16"]
"""fp32: nothing is rounded, what the file declares as fp16 is float32 too; what is left is the artefact's arithmetic.
fp16: what the file declares as fp16 is rounded to it whenever an operation has made it, as Core ML does with its
compute precision. Inside an operation sums run in float32 either way, which is the better of what devices do."""

Value = Array | str | Slot

MAX_DEPTH = 8  # of constants made of constants; sparse and palettized and quantized at once makes 4


@dataclass(frozen=True)
class Run:
    """How one run is done.

    Attributes:
        where: file and function, the beginning of a message
        load: the elements of a constant in the weight file
        keep: whether a value of this name is wanted
        replace: values that are put in the place of the computed ones
    """

    where: str
    load: Callable[[str, TensorType, BlobRef], Array]
    precision: ComputePrecision
    keep: Callable[[str], bool]
    replace: Mapping[str, Array]


def unknown_operations(function: Function) -> list[Operation]:
    """Operations that cannot be evaluated."""
    known = operators()
    return [item for item in function.operations if item.kind not in known and item.kind != "const"]


def evaluate(function: Function, given: Mapping[str, Array | Slot], run: Run) -> dict[str, Array]:
    """The outputs, and every value that `run.keep` wants, in the order in which they are computed.

    Constants are loaded and decompressed where an operation takes them and dropped after it, and any other value goes
    after its last use: so the weights of a large model are never all in memory.

    Raises:
        BundleError: naming the operation: it is unknown, fails, or gives something else than the file declares.
    """
    unknown = unknown_operations(function)
    if unknown:
        raise BundleError(f"{run.where}: the operation {unknown[0]} is not known here; write it in {__package__}.ops")
    values: dict[str, Value] = dict(given)
    constants = _constants(function, run.where)
    kept: dict[str, Array] = {}
    uses = _uses(function)
    for operation in function.operations:
        if _is_constant(operation):
            continue
        results = _call(operation, _arguments(operation, values, constants, run), run)
        for (name, _), result in zip(operation.outputs, results, strict=True):
            if run.keep(name) or name in function.outputs:
                kept[name] = result
            if uses[name]:
                values[name] = run.replace.get(name, result)
        _drop_used(operation, values, uses)
    # An output may also be an input or a constant that no operation touches.
    rest = {name: _value(name, values, constants, run) for name in function.outputs if name not in kept}
    return kept | {name: value for name, value in rest.items() if isinstance(value, np.ndarray)}


def constant_of(function: Function, name: str, run: Run) -> Array:
    """A constant by name, decompressed; raises BundleError if there is none of this name."""
    constants = _constants(function, run.where)
    if name not in constants:
        raise BundleError(f"{run.where}: has no constant {name!r}")
    value = _value(name, {}, constants, run)
    if not isinstance(value, np.ndarray):
        raise BundleError(f"{run.where}: the constant {name!r} is not a tensor")
    return value


def _is_constant(operation: Operation) -> bool:
    return operation.kind == "const" or operation.kind.startswith("constexpr_")


def _constants(function: Function, where: str) -> dict[str, Operation]:
    """Operations that are constants, by the names of those; each may only be made of constants before it."""
    found: dict[str, Operation] = {}
    depths: dict[str, int] = {}
    for operation in filter(_is_constant, function.operations):
        parts = [item for bindings in operation.inputs.values() for item in bindings if isinstance(item, str)]
        strange = [part for part in parts if part not in found]
        depth = 1 + max((depths.get(part, 0) for part in parts), default=0)
        if strange or depth > MAX_DEPTH:
            reason = f"the value {strange[0]!r}, which is not a constant before it" if strange else "too many others"
            raise BundleError(f"{where}: the constant {operation} is made of {reason}")
        found |= {name: operation for name, _ in operation.outputs}
        depths |= {name: depth for name, _ in operation.outputs}
    return found


def _uses(function: Function) -> Counter[str]:
    """How many operations take each value; an output of the function is taken once more."""
    taken = [
        item
        for operation in function.operations
        for bindings in operation.inputs.values()
        for item in bindings
        if isinstance(item, str)
    ]
    return Counter([*taken, *function.outputs])


def _drop_used(operation: Operation, values: dict[str, Value], uses: Counter[str]) -> None:
    for bindings in operation.inputs.values():
        for item in bindings:
            if isinstance(item, str):
                uses[item] -= 1
                if not uses[item]:
                    values.pop(item, None)


def _arguments(
    operation: Operation, values: Mapping[str, Value], constants: Mapping[str, Operation], run: Run
) -> dict[str, Any]:
    entry: Entry = operators()[operation.kind]
    strange = sorted(operation.inputs.keys() - entry.known)
    absent = sorted(entry.required - operation.inputs.keys())
    if strange or absent:
        wrong = f"has the unknown argument {strange[0]}" if strange else f"lacks the argument {absent[0]}"
        raise BundleError(f"{run.where}: the operation {operation} {wrong}")
    arguments: dict[str, Any] = {}
    for name, bindings in operation.inputs.items():
        found = [
            _value(item, values, constants, run)
            if isinstance(item, str)
            else _literal(f"{operation}.{name}", item, run)
            for item in bindings
        ]
        if name not in entry.many and len(found) != 1:
            raise BundleError(
                f"{run.where}: the operation {operation} has {len(found)} values for {name}, which takes one"
            )
        arguments[name] = tuple(found) if name in entry.many else found[0]
    return arguments


def _value(name: str, values: Mapping[str, Value], constants: Mapping[str, Operation], run: Run) -> Value:
    if name in values:
        return values[name]
    operation = constants.get(name)
    if operation is None:
        raise BundleError(f"{run.where}: nothing computes the value {name!r} before it is used")
    if operation.kind == "const":
        literal = operation.inputs.get("val", ("",))[0]
        if not isinstance(literal, Constant):
            raise BundleError(f"{run.where}: the constant {name!r} has no value")
        return _literal(name, literal, run)
    return _call(operation, _arguments(operation, values, constants, run), run)[0]


def _literal(name: str, constant: Constant, run: Run) -> Literal:
    value = constant.value
    if isinstance(value, BlobRef):
        value = run.load(name, constant.type, value)
    # No rounding: fp16 was rounded when it was written.
    return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def _call(operation: Operation, arguments: Mapping[str, Any], run: Run) -> list[Array]:
    try:
        with np.errstate(all="ignore"):  # infinities are values; whoever compares will see them
            result = operators()[operation.kind].function(**arguments)
    except (ValueError, IndexError, TypeError, AttributeError, ArithmeticError, MemoryError) as error:
        raise BundleError(f"{run.where}: the operation {operation} fails: {' '.join(str(error).split())}") from error
    results = () if result is None else result if isinstance(result, tuple) else (result,)
    if len(results) != len(operation.outputs):
        raise BundleError(
            f"{run.where}: the operation {operation} declares {len(operation.outputs)} of {len(results)} outputs"
        )
    return [
        _checked(f"{run.where}: the operation {operation.kind} ({name})", np.asarray(value), type_, run.precision)
        for (name, type_), value in zip(operation.outputs, results, strict=True)
    ]


def _checked(where: str, value: Array, declared: TensorType, precision: ComputePrecision) -> Array:
    """The value in the evaluator's own types, if it is what the file declares."""
    if not fits(value.shape, declared):
        raise BundleError(f"{where} gives {list(value.shape)}, the file declares {declared}")
    converted = as_declared(value, declared.dtype, precision)
    if converted is None:
        raise BundleError(f"{where} gives {value.dtype}, the file declares {declared}")
    return converted


def fits(shape: tuple[int, ...], declared: TensorType) -> bool:
    """Whether a tensor of this shape is one of the declared ones."""
    sizes = declared.shape
    return len(shape) == len(sizes) and all(want in (None, size) for want, size in zip(sizes, shape, strict=True))


def as_declared(value: Array, dtype: DType, precision: ComputePrecision) -> Array | None:
    """Floats as float32, rounded if need be; other types as they are stored; None if the value is none of this type."""
    match dtype.kind, value.dtype.kind:
        case "float", "f":
            if precision == "fp16" and dtype.name == "fp16":
                with np.errstate(over="ignore"):  # beyond 65504 it is infinite there too
                    value = value.astype(np.float16)
            return value.astype(np.float32)
        case "bool", "b":
            return value
        case "int", "i" | "u":
            low, high = dtype.bounds
            inside = not value.size or (low <= value.min() and value.max() <= high)
            return value.astype(dtype.storage) if inside else None
    return None
