"""How the graphs of a model become IRs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle import TensorSpec
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.interfaces.target import CompanionWriter
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
class OpenVinoClient:
    """The layout that a runtime on OpenVINO wants for a family of models.

    Attributes:
        parts: from a graph of the model's split to the IRs that it becomes
        companions: writers of what other runtimes read beside the IRs
    """

    parts: Callable[[GraphSpec], Sequence[Part]]
    companions: Sequence[CompanionWriter] = ()


PLAIN = OpenVinoClient(lambda spec: [Part(spec, spec.name)])
"""The graphs of the split as they are, an IR each."""


def root_of(spec: GraphSpec, kind: type[Model]) -> Model:
    """The model whose graph this is."""
    root = spec.module.root
    assert isinstance(root, kind)
    return root
