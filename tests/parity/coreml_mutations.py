"""Faults in saved Core ML packages: in a weight file, and in a program."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mutations import rehash

from nexus_edge.bundle import Bundle
from nexus_edge.engines.coreml.mil import MilModel
from nexus_edge.engines.coreml.mil.blob import RECORD
from nexus_edge.engines.coreml.mil.spec import BlobRef, Constant
from nexus_edge.quant.packing import unpack

MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"

Change = Callable[[np.ndarray], np.ndarray]


def package(bundle: Bundle, name: str) -> Path:
    return bundle.root / "coreml" / f"{name}.mlpackage"


def overwrite(bundle: Bundle, where: str, weight: str, argument: str, change: Change) -> Bundle:
    """Change what a part of a compressed constant holds, in the weight file, and vouch for it.

    Args:
        where: the package
        weight: the layer's, with its dots
        argument: `scale`, `offset`, or `data`, whose codes are given and taken one a byte
    """
    function = MilModel.open(package(bundle, where)).main._function
    name = weight.replace(".", "_")
    (operation,) = (item for item in function.operations if item.outputs and item.outputs[0][0] == name)
    (constant,) = operation.inputs[argument]
    assert isinstance(constant, Constant) and isinstance(constant.value, BlobRef)
    dtype, sizes = constant.type.dtype, [size or 1 for size in constant.type.shape]
    file = package(bundle, where) / WEIGHTS
    data = bytearray(file.read_bytes())
    _, _, size, begin, _ = RECORD.unpack_from(data, constant.value.offset)
    old = np.frombuffer(bytes(data[begin : begin + size]), np.uint8 if dtype.bits < 8 else dtype.storage)
    values = _codes(old) if dtype.bits == 4 else old
    new = change(values.reshape(sizes).copy())
    assert new.shape == tuple(sizes) and not np.array_equal(new.ravel(), values)
    flat = np.ascontiguousarray(new, values.dtype).ravel()
    data[begin : begin + size] = (flat[0::2] | flat[1::2] << 4 if dtype.bits == 4 else flat).tobytes()
    file.write_bytes(data)
    return rehash(bundle)


def _codes(packed: np.ndarray) -> np.ndarray:
    """Unsigned 4-bit codes, one a byte; what `quant.packing` says of them, not the evaluator's own reader."""
    import torch

    return unpack(torch.from_numpy(packed.copy()), 4).numpy()


def edit_program(bundle: Bundle, where: str, function: str, change: Callable[[Any], None]) -> Bundle:
    """Change the block of a function (MIL.proto's Block), and vouch for it."""
    from coremltools.proto import Model_pb2

    file = package(bundle, where) / MODEL
    model = Model_pb2.Model()
    model.ParseFromString(file.read_bytes())
    (block,) = model.mlProgram.functions[function].block_specializations.values()
    before = block.SerializeToString(deterministic=True)
    change(block)
    assert block.SerializeToString(deterministic=True) != before
    file.write_bytes(model.SerializeToString())
    return rehash(bundle)


def write_one_row_later(block: Any) -> None:
    """Updates of caches by one token begin and end one row after where they should."""
    made = {item.outputs[0].name: place for place, item in enumerate(block.operations) if item.outputs}
    update = next(item for item in block.operations if item.type == "slice_update")
    begin, end = (block.operations[made[update.inputs[name].arguments[0].name]] for name in ("begin", "end"))
    row, next_row = (concat.inputs["values"].arguments[2] for concat in (begin, end))
    place = made[next_row.name]  # adds the one token to the position
    following = type(block.operations[place])()
    following.CopyFrom(block.operations[place])
    following.inputs["x"].arguments[0].name = next_row.name
    following.outputs[0].name = "row_after"
    row.name, next_row.name = next_row.name, "row_after"
    block.operations.insert(place + 1, following)


def write_to_the_neighbour(block: Any) -> None:
    """The new keys of the first two layers of a chunk change places on their way into the states."""
    writes = [item for item in block.operations if item.type == "write_state"]
    keys = [item.inputs["input"].arguments[0] for item in writes if "key" in item.inputs["input"].arguments[0].name]
    keys[0].name, keys[1].name = keys[1].name, keys[0].name


def swap_files(bundle: Bundle, first: str, second: str) -> Bundle:
    """Two packages compute with each other's weights."""
    one, other = (package(bundle, name) / WEIGHTS for name in (first, second))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return rehash(bundle)
