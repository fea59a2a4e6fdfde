"""The messages that are read, against coremltools' own descriptors of all messages."""

from typing import Any

import pytest

from nexus_edge.engines.coreml.mil.schema import MESSAGES, parse

KINDS = {
    "int32": "TYPE_INT32", "int64": "TYPE_INT64", "uint64": "TYPE_UINT64", "bool": "TYPE_BOOL", "float": "TYPE_FLOAT",
    "string": "TYPE_STRING", "bytes": "TYPE_BYTES", "enum": "TYPE_ENUM",
}  # fmt: skip


def original(ct: Any, message: str) -> Any:
    """coremltools' descriptor: of Model.proto and FeatureTypes.proto, or of MIL.proto in its own package."""
    pool = ct.proto.Model_pb2.DESCRIPTOR.pool
    for prefix in ("CoreML.Specification", "CoreML.Specification.MILSpec"):
        try:
            return pool.FindMessageTypeByName(f"{prefix}.{message}")
        except KeyError:
            continue
    raise AssertionError(f"{message} is no message of coremltools")


@pytest.mark.parametrize("message", MESSAGES)
def test_numbers_and_types_are_those_of_coremltools(ct: Any, message: str) -> None:
    fields = original(ct, message).fields_by_name
    for name, (number, kind) in MESSAGES[message].items():
        field, inner = fields[name], kind.strip("[]{}")
        assert field.number == number, name
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        assert is_map == kind.startswith("{"), name
        assert field.is_repeated == kind.startswith(("[", "{")), name
        if is_map:
            field = field.message_type.fields_by_name["value"]
        if inner in KINDS:
            assert field.type == getattr(field, KINDS[inner]), name
        else:
            assert field.message_type.full_name == original(ct, inner).full_name, name


def test_a_specification_says_here_what_it_says_there(ct: Any) -> None:
    theirs = ct.proto.Model_pb2.Model(specificationVersion=9)
    theirs.description.metadata.userDefined["a"] = "b"
    state = theirs.description.functions.add(name="main").state.add(name="s").type.stateType.arrayType
    state.shape.extend([1, -2])
    operation = theirs.mlProgram.functions["f"].block_specializations["CoreML8"].operations.add(type="const")
    value = operation.attributes["val"]
    value.immediateValue.tensor.floats.values.extend([0.5, 2.0])
    value.blobFileValue.offset = 2**64 - 1
    ours = parse(theirs.SerializeToString())
    assert ours.specificationVersion == 9 and dict(ours.description.metadata.userDefined) == {"a": "b"}
    assert list(ours.description.functions[0].state[0].type.stateType.arrayType.shape) == [1, -2]
    read = ours.mlProgram.functions["f"].block_specializations["CoreML8"].operations[0]
    assert read.type == "const" and read.attributes["val"].blobFileValue.offset == 2**64 - 1
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)
