"""The messages of a Core ML specification that are read here, for the protobuf package.

Source of names, numbers and types: Model.proto, FeatureTypes.proto and MIL.proto (apple/coremltools, mlmodel/format).
Fields that no reader needs are left out, and protobuf passes over them. coremltools has all of them, but its import
costs seconds and prints; protobuf alone comes with ONNX Runtime.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

Message = Any
"""A message of protobuf, whose classes are made when the module is first used."""

Fields = Mapping[str, tuple[int, str]]
"""Field -> its number and its type: a scalar, a message of `MESSAGES`, `[type]` for several, `{type}` for a map from
texts."""

MESSAGES: Mapping[str, Fields] = {
    # Model.proto
    "Model": {
        "specificationVersion": (1, "int32"),
        "description": (2, "ModelDescription"),
        "mlProgram": (502, "Program"),
    },
    "ModelDescription": {
        "functions": (20, "[FunctionDescription]"),
        "defaultFunctionName": (21, "string"),
        "metadata": (100, "Metadata"),
        "input": (1, "[FeatureDescription]"),
        "output": (10, "[FeatureDescription]"),
        "state": (13, "[FeatureDescription]"),
    },
    "FunctionDescription": {
        "name": (1, "string"),
        "input": (2, "[FeatureDescription]"),
        "output": (3, "[FeatureDescription]"),
        "state": (6, "[FeatureDescription]"),
    },
    "Metadata": {
        "shortDescription": (1, "string"),
        "versionString": (2, "string"),
        "author": (3, "string"),
        "license": (4, "string"),
        "userDefined": (100, "{string}"),
    },
    "FeatureDescription": {"name": (1, "string"), "type": (3, "FeatureType")},
    # FeatureTypes.proto
    "FeatureType": {
        "imageType": (4, "ImageFeatureType"),
        "multiArrayType": (5, "ArrayFeatureType"),
        "stateType": (8, "StateFeatureType"),
    },
    "StateFeatureType": {"arrayType": (1, "ArrayFeatureType")},
    "ImageFeatureType": {
        "width": (1, "int64"),
        "height": (2, "int64"),
        "enumeratedSizes": (21, "ImageFeatureType.EnumeratedImageSizes"),
        "imageSizeRange": (31, "ImageFeatureType.ImageSizeRange"),
        "colorSpace": (3, "enum"),
    },
    "ImageFeatureType.EnumeratedImageSizes": {},
    "ImageFeatureType.ImageSizeRange": {},
    "ArrayFeatureType": {
        "shape": (1, "[int64]"),
        "dataType": (2, "enum"),
        "enumeratedShapes": (21, "ArrayFeatureType.EnumeratedShapes"),
        "shapeRange": (31, "ArrayFeatureType.ShapeRange"),
    },
    "ArrayFeatureType.EnumeratedShapes": {"shapes": (1, "[ArrayFeatureType.Shape]")},
    "ArrayFeatureType.Shape": {"shape": (1, "[int64]")},
    "ArrayFeatureType.ShapeRange": {"sizeRanges": (1, "[SizeRange]")},
    "SizeRange": {"lowerBound": (1, "uint64"), "upperBound": (2, "int64")},
    # MIL.proto
    "Program": {"functions": (2, "{Function}")},
    "Function": {
        "inputs": (1, "[NamedValueType]"),
        "opset": (2, "string"),
        "block_specializations": (3, "{Block}"),
    },
    "Block": {"outputs": (2, "[string]"), "operations": (3, "[Operation]")},
    "Operation": {
        "type": (1, "string"),
        "inputs": (2, "{Argument}"),
        "outputs": (3, "[NamedValueType]"),
        "blocks": (4, "[Block]"),
        "attributes": (5, "{Value}"),
    },
    "Argument": {"arguments": (1, "[Argument.Binding]")},
    "Argument.Binding": {"name": (1, "string"), "value": (2, "Value")},
    "NamedValueType": {"name": (1, "string"), "type": (2, "ValueType")},
    "ValueType": {"tensorType": (1, "TensorType"), "stateType": (5, "StateType")},
    "StateType": {"wrappedType": (1, "ValueType")},
    "TensorType": {"dataType": (1, "enum"), "rank": (2, "int64"), "dimensions": (3, "[Dimension]")},
    "Dimension": {"constant": (1, "Dimension.ConstantDimension")},
    "Dimension.ConstantDimension": {"size": (1, "uint64")},
    "Value": {
        "type": (2, "ValueType"),
        "immediateValue": (3, "Value.ImmediateValue"),
        "blobFileValue": (5, "Value.BlobFileValue"),
    },
    "Value.ImmediateValue": {"tensor": (1, "TensorValue")},
    "Value.BlobFileValue": {"fileName": (1, "string"), "offset": (2, "uint64")},
    "TensorValue": {
        "floats": (1, "TensorValue.RepeatedFloats"),
        "ints": (2, "TensorValue.RepeatedInts"),
        "bools": (3, "TensorValue.RepeatedBools"),
        "strings": (4, "TensorValue.RepeatedStrings"),
        "longInts": (5, "TensorValue.RepeatedLongInts"),
        "bytes": (7, "TensorValue.RepeatedBytes"),
    },
    "TensorValue.RepeatedFloats": {"values": (1, "[float]")},
    "TensorValue.RepeatedInts": {"values": (1, "[int32]")},
    "TensorValue.RepeatedBools": {"values": (1, "[bool]")},
    "TensorValue.RepeatedStrings": {"values": (1, "[string]")},
    "TensorValue.RepeatedLongInts": {"values": (1, "[int64]")},
    "TensorValue.RepeatedBytes": {"values": (1, "bytes")},
}

_PACKAGE = "nexus_edge.coreml"
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint64": _FIELD.TYPE_UINT64,
    "bool": _FIELD.TYPE_BOOL,
    "float": _FIELD.TYPE_FLOAT,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "enum": _FIELD.TYPE_INT32,  # as which an enum is written; values of later versions are then numbers like others
}


class SpecError(ValueError):
    """Bytes that are no specification, or not one that is understood."""


def parse(data: bytes) -> Message:
    """The Model message in a specification; raises SpecError."""
    try:
        return _model_class().FromString(data)
    except DecodeError as error:
        raise SpecError("it is cut off, damaged, or not a protobuf message") from error


def name(text: str) -> str:
    """A text that can stand in a message of one line; raises SpecError."""
    if not text.isprintable():
        raise SpecError(f"{text[:40]!r} is no name")
    return text


def entries(fields: Mapping[str, Message]) -> list[tuple[str, Message]]:
    """A map by its sorted names: protobuf gives them in another order in each process. Raises SpecError as `name`."""
    return [(name(key), fields[key]) for key in sorted(fields)]


@cache
def _model_class() -> Any:
    pool = descriptor_pool.DescriptorPool()  # of our own: coremltools registers its messages in the common one
    pool.Add(_file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Model"))


def _file() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in MESSAGES.items():
        described = file.message_type.add(name=_flat(message))
        for field, (number, kind) in fields.items():
            inner = kind.strip("[]{}")
            if kind.startswith("{"):
                entry = described.nested_type.add(name=f"{_capitals(field)}Entry")
                entry.options.map_entry = True
                _add(entry, "key", 1, "string", repeated=False)
                _add(entry, "value", 2, inner, repeated=False)
                described.field.add(
                    name=field,
                    number=number,
                    label=_FIELD.LABEL_REPEATED,
                    type=_FIELD.TYPE_MESSAGE,
                    type_name=f".{_PACKAGE}.{described.name}.{entry.name}",
                )
            else:
                _add(described, field, number, inner, repeated=kind.startswith("["))
    return file


def _add(message: Any, field: str, number: int, kind: str, *, repeated: bool) -> None:
    label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
    if kind in _SCALARS:
        message.field.add(name=field, number=number, label=label, type=_SCALARS[kind])
    else:
        of = f".{_PACKAGE}.{_flat(kind)}"
        message.field.add(name=field, number=number, label=label, type=_FIELD.TYPE_MESSAGE, type_name=of)


def _capitals(field: str) -> str:
    """As protobuf names the entries of a map."""
    return "".join(word[:1].upper() + word[1:] for word in field.split("_"))


def _flat(message: str) -> str:
    """Inner messages have names of their own here, with an underscore."""
    return message.replace(".", "_")
