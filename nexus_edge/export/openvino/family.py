"""What the OpenVINO target knows about a family of models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle import TensorSpec
from nexus_edge.export.target import Ingredients
from nexus_edge.graphs import GraphSpec
from nexus_edge.models.base import ReferenceModel

with without_telemetry():
    import openvino as ov

Model = TypeVar("Model", bound=ReferenceModel)


@dataclass(frozen=True)
class Part:
    """One IR.

    Attributes:
        spec: what is translated
        file: of the IR, without its ending
        finish: what is done to the translated model, in place
        final_inputs, final_outputs: the interface after that; None: that of `spec`
        companions: tensors that no graph uses but a file beside them needs
    """

    spec: GraphSpec
    file: str
    finish: Callable[[ov.Model], None] | None = None
    final_inputs: tuple[TensorSpec, ...] | None = None
    final_outputs: tuple[TensorSpec, ...] | None = None
    companions: frozenset[str] = frozenset()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Of the finished graph."""
        return self.spec.inputs if self.final_inputs is None else self.final_inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Of the finished graph."""
        return self.spec.outputs if self.final_outputs is None else self.final_outputs


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        parts: from a graph of the model's split to the IRs that it becomes
        companions: writers of what other runtimes read beside the IRs
    """

    parts: Callable[[GraphSpec], Sequence[Part]]
    companions: Sequence[Callable[[Path, Ingredients], None]] = ()


def root_of(spec: GraphSpec, kind: type[Model]) -> Model:
    """The model whose graph this is."""
    root = spec.module.root
    assert isinstance(root, kind)
    return root
