"""Packages that are broken, cut off, foreign or hostile: one line that names the file and what is wrong there."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nexus_edge.engines.coreml.mil import MilModel
from nexus_edge.engines.coreml.mil.schema import SpecError, parse
from nexus_edge.errors import BundleError

pytestmark = pytest.mark.slow

ZEROS = {"x": np.zeros((1, 64), np.float32)}


@pytest.fixture
def package(save: Any, mb: Any) -> Path:
    """A linear layer with weights in the weight file."""

    @mb.program(input_specs=[mb.TensorSpec((1, 64))])
    def program(x: Any) -> Any:
        weight = mb.const(val=np.ones((32, 64), np.float32), name="weight")
        return mb.linear(x=x, weight=weight, name="y")

    path: Path = save(program)
    return path


def blob(package: Path) -> Path:
    return package / "Data/com.apple.CoreML/weights/weight.bin"


def specification(package: Path) -> Path:
    return package / "Data/com.apple.CoreML/model.mlmodel"


def edited(ct: Any, package: Path, edit: Any) -> Path:
    """The package with its specification changed by `edit(model)`."""
    model = ct.proto.Model_pb2.Model()
    model.ParseFromString(specification(package).read_bytes())
    edit(model)
    specification(package).write_bytes(model.SerializeToString())
    return package


def operations(model: Any) -> Any:
    return model.mlProgram.functions["main"].block_specializations["CoreML8"].operations


def fails(package: Path, match: str) -> None:
    with pytest.raises(BundleError, match=match) as caught:
        MilModel.open(package).main.run(ZEROS)
    assert str(package) in str(caught.value) and "\n" not in str(caught.value)


def test_the_package_is_sound(package: Path) -> None:
    assert MilModel.open(package).main.run(ZEROS)["y"].shape == (1, 32)


def test_no_package(tmp_path: Path) -> None:
    fails(tmp_path, "no Manifest.json")
    fails(tmp_path / "absent", "no Manifest.json")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"rootModelIdentifier": "a", "itemInfoEntries": {}}', "\xff", "[" * 100000]
)
def test_a_manifest_that_names_nothing(package: Path, text: str) -> None:
    (package / "Manifest.json").write_text(text, "latin-1")
    fails(package, "names no root model")


@pytest.mark.parametrize("target", ["../../outside", "/etc/hostname"])
def test_a_manifest_that_leads_out_of_the_package(package: Path, target: str) -> None:
    manifest = json.loads((package / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = target
    (package / "Manifest.json").write_text(json.dumps(manifest))
    fails(package, "leads out of the package")


def test_a_missing_specification(package: Path) -> None:
    specification(package).unlink()
    fails(package, "model.mlmodel: missing")


def test_a_specification_cut_off_anywhere(package: Path) -> None:
    """Either it is refused, or what is left makes sense; never anything else."""
    whole = specification(package).read_bytes()
    for end in range(0, len(whole), 7):
        specification(package).write_bytes(whole[:end])
        fails(package, "cannot be read|do not agree")


def test_a_specification_of_noise(package: Path) -> None:
    """Bytes changed at random give an error of ours, or another model; never another exception."""
    whole = bytearray(specification(package).read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        noisy = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            noisy[place] = rng.integers(0, 256)
        specification(package).write_bytes(noisy)
        try:
            MilModel.open(package).main.run(ZEROS)
        except BundleError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 100


def test_missing_weights(package: Path) -> None:
    blob(package).unlink()
    fails(package, r"weight\.bin: the weights of this Core ML package are missing")


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (0, "only 0 bytes"),
        (64, "no record can be at byte"),
        (8383, "no record can be at byte 8320"),
        (8384, "8384 to 8512"),
    ],
)
def test_truncated_weights(package: Path, size: int, reason: str) -> None:
    blob(package).write_bytes(blob(package).read_bytes()[:size])
    fails(package, rf"weight\.bin.*{reason}")


@pytest.mark.parametrize(
    ("place", "form", "value", "reason"),
    [
        (4, "<I", 3, "weight format 3"),
        (64, "<I", 1, "does not begin a record"),
        (68, "<I", 1, "holds fp16, the program says fp32"),
        (68, "<I", 99, "holds type 99, the program says fp32"),
        (72, "<Q", 4, r"4 bytes, but fp32 \[32, 64\] takes 8192"),
        (72, "<Q", 2**63, "but fp32"),
        (80, "<Q", 2**63, "truncated"),
        (80, "<Q", 2**64 - 64, "truncated"),
        (80, "<Q", 0, "truncated"),
        (80, "<Q", 129, "truncated"),
        (88, "<Q", 4, "but fp32"),
    ],
)
def test_a_record_that_lies(package: Path, place: int, form: str, value: int, reason: str) -> None:
    data = bytearray(blob(package).read_bytes())
    struct.pack_into(form, data, place, value)
    blob(package).write_bytes(data)
    fails(package, rf"weight\.bin.*{reason}")


@pytest.mark.parametrize("offset", [0, 1, 65, 2**63, 2**64 - 64])
def test_an_offset_without_a_record(ct: Any, package: Path, offset: int) -> None:
    def edit(model: Any) -> None:
        for operation in operations(model):
            if operation.outputs[0].name == "weight":
                operation.attributes["val"].blobFileValue.offset = offset

    fails(edited(ct, package, edit), "tensor 'weight': no record can be at byte")


@pytest.mark.parametrize("name", ["/etc/hostname", "weights/weight.bin", "@model_path/../../../../outside"])
def test_weights_outside_of_the_package(ct: Any, package: Path, name: str) -> None:
    def edit(model: Any) -> None:
        for operation in operations(model):
            if operation.outputs[0].name == "weight":
                operation.attributes["val"].blobFileValue.fileName = name

    fails(edited(ct, package, edit), "do not begin with @model_path/|leads out of the package")


def test_an_unknown_operation(ct: Any, package: Path) -> None:
    def edit(model: Any) -> None:
        operations(model)[-1].type = "lineal"

    main = MilModel.open(edited(ct, package, edit)).main
    assert [str(operation) for operation in main.unknown] == ["lineal (y)"]
    fails(package, r"the operation lineal \(y\) is not known here")


def test_arguments_that_do_not_fit(ct: Any, package: Path) -> None:
    def add(model: Any) -> None:
        operations(model)[-1].inputs["gain"].arguments.add().name = "x"

    fails(edited(ct, package, add), r"linear \(y\) has the unknown argument gain")

    def lose(model: Any) -> None:
        del operations(model)[-1].inputs["gain"]
        del operations(model)[-1].inputs["weight"]

    fails(edited(ct, package, lose), r"linear \(y\) lacks the argument weight")


def test_a_value_that_nothing_computes(ct: Any, package: Path) -> None:
    def edit(model: Any) -> None:
        operations(model)[-1].inputs["x"].arguments[0].name = "z"

    fails(edited(ct, package, edit), "nothing computes the value 'z'")


def test_a_constant_that_is_its_own_argument(ct: Any, package: Path) -> None:
    def edit(model: Any) -> None:
        operation = operations(model)[0]
        operation.type = "constexpr_cast"
        for name, value in (("source_val", "weight"), ("output_dtype", "weight")):
            operation.inputs[name].arguments.add().name = value
        operation.attributes.clear()

    fails(edited(ct, package, edit), "made of the value 'weight', which is not a constant before it")


def test_a_long_chain_of_constants(ct: Any, package: Path) -> None:
    def edit(model: Any) -> None:
        rest = [operations(model).pop(0) for _ in range(len(operations(model)))]
        first = next(operation for operation in rest if operation.outputs[0].name == "weight")
        operations(model).append(first)
        for place in range(2000):
            made = operations(model).add(type="constexpr_cast")
            made.inputs["source_val"].arguments.add().name = f"w{place - 1}" if place else "weight"
            made.outputs.add(name=f"w{place}", type=first.outputs[0].type)
        operations(model).extend(rest)

    fails(edited(ct, package, edit), "made of too many others")


def test_a_name_of_two_lines(ct: Any, package: Path) -> None:
    def edit(model: Any) -> None:
        operations(model)[-1].outputs[0].name = "y\nz"

    fails(edited(ct, package, edit), r"'y\\nz' is no name")


@pytest.mark.parametrize(
    ("dtype", "sizes", "reason"),
    [(11, [1, 33], r"gives \[1, 32\]"), (11, [32], r"gives \[1, 32\]"), (23, [1, 32], "gives float32")],
)
def test_a_result_that_is_not_the_declared_one(
    ct: Any, package: Path, dtype: int, sizes: list[int], reason: str
) -> None:
    def edit(model: Any) -> None:
        tensor = operations(model)[-1].outputs[0].type.tensorType
        tensor.dataType, tensor.rank = dtype, len(sizes)
        del tensor.dimensions[:]
        for size in sizes:
            tensor.dimensions.add().constant.size = size

    fails(edited(ct, package, edit), rf"the operation linear \(y\) {reason}, the file declares")


def test_a_weight_that_is_transposed_is_noticed(ct: Any, package: Path) -> None:
    """The shapes of a square weight would fit; these do not."""

    def edit(model: Any) -> None:
        for operation in operations(model):
            if operation.outputs[0].name == "weight":
                for tensor in (operation.outputs[0].type.tensorType, operation.attributes["val"].type.tensorType):
                    tensor.dimensions[0].constant.size, tensor.dimensions[1].constant.size = 64, 32

    fails(edited(ct, package, edit), r"linear \(y\) fails: matmul")


def test_a_description_of_another_program(ct: Any, package: Path) -> None:
    def edit(model: Any) -> None:
        model.description.input[0].name = "z"

    fails(edited(ct, package, edit), "description and program do not agree about 'x'")


def test_a_model_of_an_older_kind(ct: Any, package: Path) -> None:
    def edit(model: Any) -> None:
        model.ClearField("mlProgram")
        model.neuralNetwork.SetInParent()

    fails(edited(ct, package, edit), "a model of an older kind")


def test_a_program_with_control_flow(ct: Any, package: Path) -> None:
    def edit(model: Any) -> None:
        operations(model)[-1].blocks.add()

    fails(edited(ct, package, edit), "control flow is not supported")


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x05abc",
        b"\x0b",
        b"\x80",
        b"\x08" + b"\xff" * 11,
        b"\x0d\x01",
        b"\x12\x04\xaa\x01\x01\xff",
        b"\x13" * 10_000,
    ],
    ids=["too long", "end of a group", "no end", "no end of a number", "cut off", "no UTF-8", "groups in groups"],
)
def test_bytes_that_are_no_message(data: bytes) -> None:
    with pytest.raises(SpecError, match="not a protobuf message"):
        parse(data)


def test_messages_in_messages_have_an_end(package: Path) -> None:
    """A state of a state of a state ..., as deep as its bytes allow."""
    inner = b""
    for _ in range(20_000):
        inner = b"\x2a" + varint(len(inner) + 1 + len(varint(len(inner)))) + b"\x0a" + varint(len(inner)) + inner
    field = b"\x0a" + varint(len(inner) + 1 + len(varint(len(inner)))) + b"\x12" + varint(len(inner)) + inner
    function = b"\x0a\x04main\x12" + varint(len(field)) + field
    program = b"\x12" + varint(len(function)) + function
    specification(package).write_bytes(b"\xb2\x1f" + varint(len(program)) + program)
    fails(package, "cannot be read")


def varint(value: int) -> bytes:
    """Of protobuf's wire format: seven bits a byte, the lowest first."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
