"""Translations of graphs, made once for all checkpoints of one architecture: they depend on no weight."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from torch import nn

from nexus_edge.engines.onnx.probe import graphs as onnx_graphs
from nexus_edge.targets.coreml import target as coreml
from nexus_edge.targets.onnx import target as onnx
from nexus_edge.targets.openvino import target as openvino

Translate = Callable[[Any], Any]


@contextmanager
def translated_once(config: str, known: dict[Any, Any]) -> Iterator[None]:
    """Inside, an export takes translations from `known` where the same model's are there, and leaves its own.

    Args:
        config: all that a checkpoint says of its model
        known: kept by the caller
    """

    def once(translate: Translate, copy: Callable[[Any], Any]) -> Translate:
        def translated(spec: Any) -> Any:
            key = (translate, spec.name, spec.inputs, spec.outputs, config, _structure(spec.module))
            if key not in known:
                known[key] = translate(spec)
            return copy(known[key])  # targets go on to write weights into what they got

        return translated

    to_onnx = once(onnx.translate, lambda model: model.clone())
    with ExitStack() as stack:
        stack.enter_context(patch.object(onnx, "translate", to_onnx))
        stack.enter_context(patch.object(onnx_graphs, "translate", to_onnx))
        stack.enter_context(patch.object(openvino, "convert", once(openvino.convert, lambda model: model.clone())))
        stack.enter_context(patch.object(coreml, "trace", once(coreml.trace, lambda program: program)))
        yield


def _structure(module: nn.Module) -> tuple[object, ...]:
    """What a graph takes of its model; names, types and shapes of all that the model stores, and how it stores it."""
    own = [(name, value) for name, value in vars(module).items() if isinstance(value, int | float | str | tuple)]
    kinds = [(name, type(part).__name__, getattr(part, "scheme", None)) for name, part in module.named_modules()]
    tensors = (*module.named_parameters(), *module.named_buffers())
    stored = [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors]
    return (type(module).__name__, *own, *kinds, *stored)
