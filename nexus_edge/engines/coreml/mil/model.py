"""A saved Core ML package, opened and run."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from nexus_edge.engines.coreml.mil.evaluate import (
    ComputePrecision,
    Run,
    as_declared,
    constant_of,
    evaluate,
    fits,
    unknown_operations,
)
from nexus_edge.engines.coreml.mil.features import Description, Feature, Interface, read_description
from nexus_edge.engines.coreml.mil.images import as_tensor
from nexus_edge.engines.coreml.mil.ops.states import Slot
from nexus_edge.engines.coreml.mil.package import Package
from nexus_edge.engines.coreml.mil.registry import Array
from nexus_edge.engines.coreml.mil.schema import SpecError, parse
from nexus_edge.engines.coreml.mil.spec import (
    BlobRef,
    Constant,
    Function,
    Operation,
    StateType,
    TensorType,
    read_program,
)
from nexus_edge.errors import BundleError

State = dict[str, Array]
"""States by name, float32 or integers; a run replaces the arrays, so a shallow copy is a snapshot."""


class MilFunction:
    """One function of a package.

    Attributes:
        where: the package and the function, the beginning of a message
        inputs, outputs, states: what the outside sees, by name
    """

    def __init__(self, name: str, function: Function, interface: Interface, package: Package) -> None:
        self.name = name
        self.inputs, self.outputs, self.states = interface.inputs, interface.outputs, interface.states
        self._function, self._package = function, package
        self.where = f"{package.path}: function {name}"
        missing = (self.inputs.keys() | self.states.keys()) ^ function.inputs.keys()
        missing |= self.outputs.keys() ^ set(function.outputs)
        if missing:
            raise BundleError(f"{self.where}: description and program do not agree about {sorted(missing)[0]!r}")

    @property
    def package(self) -> Path:
        """The folder."""
        return self._package.path

    @property
    def values(self) -> Mapping[str, TensorType]:
        """All values that the function computes, constants included, with their declared types."""
        return {name: type_ for operation in self._function.operations for name, type_ in operation.outputs}

    @property
    def constants(self) -> Mapping[str, str]:
        """Constants by name, each with the operation that makes it: `const`, or how it is compressed."""
        made = [operation for operation in self._function.operations if operation.kind.startswith("const")]
        return {name: operation.kind for operation in made for name, _ in operation.outputs}

    @property
    def unknown(self) -> list[Operation]:
        """Operations that cannot be evaluated."""
        return unknown_operations(self._function)

    @property
    def kinds(self) -> set[str]:
        """MIL's names of the operations it is made of."""
        return {operation.kind for operation in self._function.operations}

    def new_state(self) -> State:
        """States as Core ML makes them: all zeros."""
        types = {name: type_.tensor for name, type_ in self._function.inputs.items() if isinstance(type_, StateType)}
        return {
            name: np.zeros(self._fixed(name, type_), np.float32 if type_.dtype.kind == "float" else type_.dtype.storage)
            for name, type_ in types.items()
        }

    def constant(self, name: str) -> Array:
        """A constant, decompressed: float32, or integers; raises BundleError if there is none of this name."""
        return constant_of(self._function, name, self._run("fp32", None, None))

    def check_weights(self) -> None:
        """Find every weight in the package's weight file; raises BundleError where one is not there."""
        for operation in self._function.operations:
            for item in (item for items in operation.inputs.values() for item in items if isinstance(item, Constant)):
                if isinstance(item.value, BlobRef):
                    self._load(str(operation), item.type, item.value)

    def run(
        self,
        inputs: Mapping[str, Array],
        state: State | None = None,
        precision: ComputePrecision = "fp32",
        keep: Callable[[str], bool] | None = None,
        replace: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        """Compute the outputs.

        Args:
            inputs: all of `self.inputs`; an image as its pixels
            state: read, and replaced when the run was a success; needed where there are states
            keep: says of an inner value's name whether it is wanted
            replace: inner values, put in the place of what their operation gives to those after it

        Returns:
            outputs and kept values in the order in which they are computed; floats as float32

        Raises:
            BundleError: an input is missing or of a wrong type or shape, or the program is broken; see `evaluate`.
        """
        slots = self._slots(state or {})
        given = {name: self._given(feature, inputs, precision) for name, feature in self.inputs.items()}
        results = evaluate(self._function, {**given, **slots}, self._run(precision, keep, replace))
        if state is not None:
            state.update({name: slot.value for name, slot in slots.items()})
        return results

    def _run(
        self, precision: ComputePrecision, keep: Callable[[str], bool] | None, replace: Mapping[str, Array] | None
    ) -> Run:
        return Run(self.where, self._load, precision, keep or (lambda name: False), replace or {})

    def _load(self, name: str, type_: TensorType, blob: BlobRef) -> Array:
        return self._package.tensor(name, type_.dtype, self._fixed(name, type_), blob.file, blob.offset)

    def _fixed(self, name: str, type_: TensorType) -> tuple[int, ...]:
        sizes = [size for size in type_.shape if size is not None]
        if len(sizes) != len(type_.shape):
            raise BundleError(f"{self.where}: {name!r} has no fixed shape")
        return tuple(sizes)

    def _given(self, feature: Feature, inputs: Mapping[str, Array], precision: ComputePrecision) -> Array:
        where = f"{self.where}: the input {feature.name!r}"
        if feature.name not in inputs:
            raise BundleError(f"{where} is missing")
        value = np.asarray(inputs[feature.name])
        declared = self._function.inputs[feature.name]
        if feature.kind == "image":
            value = as_tensor(value, feature, where)
        elif not feature.accepts(value.shape):
            raise BundleError(f"{where} is {list(value.shape)}, allowed is {list(feature.choices or feature.shape)}")
        if not isinstance(declared, TensorType) or not fits(value.shape, declared):
            raise BundleError(f"{where} is {list(value.shape)}, but the program takes {declared}")
        converted = as_declared(value, declared.dtype, precision)
        if converted is None:
            raise BundleError(f"{where} is {value.dtype}, but the program takes {declared}")
        return converted

    def _slots(self, state: State) -> dict[str, Slot]:
        slots = {}
        for name, zeros in self.new_state().items():
            if name not in state:
                raise BundleError(f"{self.where}: the state {name!r} is missing; start with new_state()")
            if state[name].shape != zeros.shape or state[name].dtype != zeros.dtype:
                raise BundleError(f"{self.where}: the state {name!r} is {zeros.dtype} {list(zeros.shape)}")
            slots[name] = Slot(state[name])
        return slots


class MilModel:
    """A `.mlpackage`; see `MilFunction` for what one can do with it.

    Attributes:
        functions: by name; packages for iOS 18 may have several, which share states by their names
        default: the function that Core ML runs if it is told none
        specification: the format's version, 9 for iOS 18
        metadata: what the author wrote, and the user-defined entries
    """

    def __init__(
        self, functions: Mapping[str, MilFunction], default: str, specification: int, metadata: Mapping[str, str]
    ) -> None:
        self.functions, self.default = functions, default
        self.specification, self.metadata = specification, metadata

    @classmethod
    def open(cls, path: Path | str) -> "MilModel":
        """Read a package's program; weights are only looked at when they are used.

        Raises:
            BundleError: there is no package at `path`, or it is not a readable ML Program.
        """
        package = Package(Path(path))
        try:
            model = parse(package.specification())
            description = read_description(model.description)
            if not model.HasField("mlProgram"):
                raise SpecError("it holds a model of an older kind, not an ML Program")
            functions = read_program(model.mlProgram)
            specification = model.specificationVersion
        except SpecError as error:
            raise BundleError(f"{path}: its specification cannot be read: {error}") from error
        return cls(
            _described(functions, description, package), description.default, specification, description.metadata
        )

    @property
    def main(self) -> MilFunction:
        """The default function."""
        return self.functions[self.default]


def _described(functions: Mapping[str, Function], description: Description, package: Package) -> dict[str, MilFunction]:
    strange = functions.keys() ^ description.functions.keys()
    if strange or description.default not in functions:
        name = min(strange) if strange else description.default
        raise BundleError(f"{package.path}: description and program do not agree about a function {name!r}")
    return {name: MilFunction(name, functions[name], description.functions[name], package) for name in functions}
