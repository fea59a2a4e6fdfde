"""One graph to one .onnx file, without ever holding a weight."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx_ir as ir
import torch
from torch import Tensor, nn

from nexus_edge import __version__
from nexus_edge.bundle import TensorSpec
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.interfaces.target import StoredTensor
from nexus_edge.targets.onnx.lowering import OPSET, TranslationTable, translation_table
from nexus_edge.targets.onnx.passes import PARAMETER_PREFIX, clean
from nexus_edge.targets.tracing import dynamic_shapes, example


def translate(spec: GraphSpec) -> ir.Model:
    """Export the graph's module from the meta device and write it in ONNX operators; initializers have no data yet."""
    return translate_with(spec, translation_table())


def translate_with(spec: GraphSpec, table: TranslationTable) -> ir.Model:
    """As `translate`, with other forms of the custom ops."""
    shapes = {name: 2 + i for i, name in enumerate(_dynamic_names(spec.inputs))}
    if {"past", "tokens", "total"} <= shapes.keys():
        shapes["total"] = shapes["past"] + shapes["tokens"]
    with _quiet(), torch.no_grad(), torch.device("meta"):
        program = torch.export.export(
            _Flat(spec.module),
            tuple(example(spec, shapes)),
            dynamic_shapes={"tensors": tuple(dynamic_shapes(spec))},
            strict=False,
        )
        onnx_program = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            custom_translation_table=table,
            opset_version=OPSET,
            optimize=False,  # torch's constant folding wants the weights
            verbose=False,
        )
    assert onnx_program is not None
    model = onnx_program.model
    clean(model)
    _describe(model, spec)
    return model


def tensor_names(model: ir.Model) -> list[str]:
    """The parameters and buffers that the graph uses, by their names in the model."""
    return [name.removeprefix(PARAMETER_PREFIX) for name in model.graph.initializers]


def attach_weights(model: ir.Model, stored: Mapping[str, StoredTensor], constants: Mapping[str, Tensor]) -> None:
    """Point every initializer at its bytes in a weights file, or embed it where it is a constant of the model.

    Args:
        model: as `translate` returns it
        stored: tensors of weights files, by name in the model; these files lie beside the .onnx file, because ONNX
            Runtime reads none from elsewhere
        constants: small tensors that are no weights (tables computed from the configuration), by name in the model
    """
    for name, value in list(model.graph.initializers.items()):
        key = name.removeprefix(PARAMETER_PREFIX)
        value.name = key
        assert value.shape is not None
        if key in constants:
            value.const_value = _embedded(constants[key], value)
            continue
        tensor = stored[key]
        value.const_value = ir.ExternalTensor(
            tensor.path.name,
            tensor.offset,
            tensor.size,
            _stored_type(value, tensor.dtype),
            shape=ir.Shape(value.shape.numpy()),
            name=key,
            base_dir="",
        )


def _embedded(constant: Tensor, value: ir.Value) -> ir.TensorProtocol:
    assert value.shape is not None
    if value.dtype == ir.DataType.UINT4:
        return ir.PackedTensor(constant.flatten().numpy(), value.dtype, shape=value.shape, name=value.name)
    return ir.tensor(constant.numpy().reshape(value.shape.numpy()), name=value.name)


def _stored_type(value: ir.Value, dtype: str) -> ir.DataType:
    return ir.DataType.UINT4 if value.dtype == ir.DataType.UINT4 else ir.DataType[_ONNX_NAMES[dtype]]


def save(model: ir.Model, path: Path) -> None:
    """Write the graph; weights stay where they are."""
    path.write_bytes(ir.to_proto(model).SerializeToString())


_ONNX_NAMES = {"float32": "FLOAT", "float16": "FLOAT16", "uint8": "UINT8", "int8": "INT8", "int64": "INT64"}


class _Flat(nn.Module):
    """Takes any number of tensors, so that one way of stating dynamic shapes serves every graph."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.part = graph

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.part(*tensors)


def _dynamic_names(tensors: tuple[TensorSpec, ...]) -> list[str]:
    return sorted({size for tensor in tensors for size in tensor.shape if isinstance(size, str)})


def _describe(model: ir.Model, spec: GraphSpec) -> None:
    """Name the producer and the dynamic dimensions; torch calls the latter s53 and the like."""
    model.producer_name, model.producer_version = "nexus-edge", __version__
    model.graph.name = spec.name
    for values, tensors in ((model.graph.inputs, spec.inputs), (model.graph.outputs, spec.outputs)):
        for value, tensor in zip(values, tensors, strict=True):
            assert value.name == tensor.name, f"{spec.name}: {value.name} stands where {tensor.name} should"
            value.shape = ir.Shape(tensor.shape)
            value.dtype = ir.DataType[_ONNX_NAMES[tensor.dtype]]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's exporter, which warns about packages that nobody needs here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
