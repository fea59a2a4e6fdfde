"""A function of a package: torch.export on the meta device, then its tensors, then coremltools."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from nexus_edge.bundle import TensorSpec
from nexus_edge.errors import InputError
from nexus_edge.targets.coreml.family import Function
from nexus_edge.targets.coreml.layer_outputs import name_layers

_ROOT = "root."  # under which a graph's module holds the model
Read = Callable[[str], Tensor]
"""From a name in the model, or of a buffer of a function's own, to its values."""

_TRACED = {"float32": torch.float32, "float16": torch.float32, "int32": torch.int32}
"""Type of an input -> what torch is given: models are float32 in torch, and coremltools makes them float16."""

_WEIGHTS = (InputKind.PARAMETER, InputKind.BUFFER)


def trace(function: Function) -> ExportedProgram:
    """Export a function's module from the meta device, in the operators that coremltools reads.

    Raises:
        InputError: the graph holds an operator that Core ML does not have
    """
    with quiet(), torch.no_grad(), torch.device("meta"):
        inputs = tuple(torch.empty(_sizes(tensor), dtype=_TRACED[tensor.dtype]) for tensor in function.inputs)
        program = torch.export.export(function.module, inputs, strict=False)
        program = program.run_decompositions({})
        from nexus_edge.targets.coreml.operators import require_known

        require_known(program.graph)
    _drop_unused(program)
    name_layers(program.graph, _ROOT)
    return program


def tensor_names(program: ExportedProgram) -> set[str]:
    """The parameters and buffers of the model that the program uses, by their names in the model."""
    names = {spec.target for spec in program.graph_signature.input_specs if spec.kind in _WEIGHTS and spec.target}
    return {name.removeprefix(_ROOT) for name in names if name.startswith(_ROOT)}


def convert(program: ExportedProgram, function: Function, ios: int, read: Read) -> Any:
    """The program in MIL with its weights, as a coremltools model that lies in a temporary folder.

    Args:
        program: see `trace`
        function: what it was made from
        ios: the deployment target, a major version
        read: see `Read`

    Raises:
        InputError: coremltools has the operators, but cannot translate this use of one
    """
    with quiet(), _filled(program, {state.name for state in function.states}, read):
        import coremltools as ct

        try:
            return ct.convert(
                program,
                convert_to="mlprogram",
                inputs=[_input(ct, tensor, tensor.name in function.images) for tensor in function.inputs],
                outputs=[ct.TensorType(name=tensor.name, dtype=_dtype(tensor)) for tensor in function.outputs],
                minimum_deployment_target=ct.target[f"iOS{ios}"],
                compute_precision=ct.precision.FLOAT16,
                skip_model_load=True,
            )
        except NotImplementedError as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"function {function.name} for iOS {ios}: coremltools cannot translate it: {reason:.300}; "
                "write the operator in targets/coreml/operators.py"
            ) from error


@contextlib.contextmanager
def _filled(program: ExportedProgram, states: set[str], read: Read) -> Iterator[None]:
    """The program with the values of its tensors; after it they are on the meta device again, and take no memory."""
    empty = []
    for spec in program.graph_signature.input_specs:
        if spec.kind in _WEIGHTS and spec.target is not None and spec.target not in states:
            holder = program.state_dict if spec.target in program.state_dict else program.constants
            empty.append((holder, spec.target, holder[spec.target]))
            holder[spec.target] = read(spec.target.removeprefix(_ROOT))
    try:
        yield
    finally:
        for holder, name, tensor in empty:
            holder[name] = tensor


def _input(ct: Any, tensor: TensorSpec, is_image: bool) -> Any:
    if is_image:
        return ct.ImageType(name=tensor.name, shape=tensor.shape, color_layout=ct.colorlayout.RGB)
    return ct.TensorType(name=tensor.name, shape=tensor.shape, dtype=_dtype(tensor))


def _sizes(tensor: TensorSpec) -> list[int]:
    """The shape of a tensor all of whose sizes are numbers."""
    return [int(size) for size in tensor.shape]


def _dtype(tensor: TensorSpec) -> Any:
    return np.dtype(tensor.dtype).type


def _drop_unused(program: ExportedProgram) -> None:
    """Remove tensors of the model that this function does not use, in place; torch lists all of them."""
    kept = []
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    for spec in program.graph_signature.input_specs:
        node = nodes[spec.arg.name]
        if spec.kind in _WEIGHTS and not node.users:
            program.graph.erase_node(node)
        else:
            kept.append(spec)
    program.graph_signature.input_specs[:] = kept


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence coremltools, which reports its progress and which versions it does not know; errors are raised."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
