"""The faults that the ladder must find: in a graph, and in a weights file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

from nexus_edge.bundle import Bundle
from nexus_edge.bundle.hashing import hash_file
from nexus_edge.checkpoints import SafetensorsFile

Mutation = Callable[[ModelProto], None]


def edit_graph(path: Path, mutation: Mutation) -> None:
    """Change a graph; its weights file stays where it is."""
    model = onnx.load(str(path), load_external_data=False)
    mutation(model)
    path.write_bytes(model.SerializeToString())


def rehash(bundle: Bundle) -> Bundle:
    """Vouch for the files as they are now: the fault was there before the manifest, no file changed after it."""
    files = {name: hash_file(bundle.root / name) for name in bundle.manifest.files}
    (bundle.root / "manifest.json").write_text(replace(bundle.manifest, files=files).to_json(), "utf-8")
    return Bundle.open(bundle.root)


def swap_gate_and_up(layer: int) -> Mutation:
    """The MLP of one decoder layer multiplies gate with silu(up): the two halves of its Split change places."""

    def mutate(model: ModelProto) -> None:
        splits = [node for node in model.graph.node if node.op_type == "Split" and len(node.output) == 2]
        split = splits[layer]
        split.output[0], split.output[1] = split.output[1], split.output[0]

    return mutate


def drop_longrope_factor(magnitude: float) -> Mutation:
    """Cosine and sine lose the constant factor of LongRoPE."""

    def mutate(model: ModelProto) -> None:
        found = 0
        for node in model.graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.type == onnx.AttributeProto.TENSOR:
                    value = numpy_helper.to_array(attribute.t)
                    if value.size == 1 and np.isclose(value, magnitude, atol=1e-6).all():
                        attribute.t.CopyFrom(numpy_helper.from_array(np.ones_like(value)))
                        found += 1
        assert found, "the graph has no such constant: this mutation does not mutate"

    return mutate


def change_constant(old: int, new: int) -> Mutation:
    """One whole number in the graph becomes another."""

    def mutate(model: ModelProto) -> None:
        found = 0
        for node in model.graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.type == onnx.AttributeProto.TENSOR:
                    value = numpy_helper.to_array(attribute.t)
                    if value.size == 1 and value.dtype.kind == "i" and int(value.reshape(())) == old:
                        attribute.t.CopyFrom(numpy_helper.from_array(np.full_like(value, new)))
                        found += 1
        assert found, f"the graph has no constant {old}: this mutation does not mutate"

    return mutate


def shift_crops(model: ModelProto) -> None:
    """The global view and the crops are read one place further on."""
    graph = model.graph
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == "pixel_values":
                node.input[i] = "shifted_pixel_values"
    pieces = helper.make_node("Split", ["pixel_values", "first_and_rest"], ["first", "rest"], axis=1)
    joined = helper.make_node("Concat", ["rest", "first"], ["shifted_pixel_values"], axis=1)
    # The number of views is dynamic: all but the first go in front of it.
    shape = helper.make_node("Shape", ["pixel_values"], ["views"], start=1, end=2)
    rest = helper.make_node("Sub", ["views", "one"], ["rest_views"])
    sizes = helper.make_node("Concat", ["one", "rest_views"], ["first_and_rest"], axis=0)
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    for place, node in enumerate((shape, rest, sizes, pieces, joined)):
        graph.node.insert(place, node)


def take_earlier_tower_layer(model: ModelProto) -> None:
    """Image features come from the layer before the right one."""
    outputs = [name for node in model.graph.node for name in node.output if name.endswith(".output")]
    *_, earlier, last = outputs
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == last:
                node.input[i] = earlier


def edit_tensor(path: Path, name: str, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change one tensor of a safetensors file in place; `edit` gets a copy and returns the new values."""
    old = SafetensorsFile(path).read(name)
    new = np.array(edit(old.copy()), order="C")
    assert new.shape == old.shape and new.dtype == old.dtype and (new != old).any()
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    start = 8 + header + json.loads(content[8 : 8 + header])[name]["data_offsets"][0]
    path.chmod(0o644)
    path.write_bytes(content[:start] + new.tobytes() + content[start + old.nbytes :])


def swap_halves(rows: np.ndarray) -> np.ndarray:
    """The rows of gate and up change places."""
    return np.roll(rows, len(rows) // 2, axis=0)


def swap_layers(layers: str, first: int, second: int) -> Mutation:
    """Two layers of a list (`visual.trunk.blocks`) compute with each other's weights."""
    swapped = {f"{layers}.{first}.": f"{layers}.{second}.", f"{layers}.{second}.": f"{layers}.{first}."}

    def mutate(model: ModelProto) -> None:
        stored, found = {tensor.name for tensor in model.graph.initializer}, 0
        for node in model.graph.node:
            for i, name in enumerate(node.input):
                for old, new in swapped.items():
                    if name in stored and name.startswith(old):
                        node.input[i] = name.replace(old, new)
                        found += 1
                        break
        assert found, f"nothing reads weights of {layers}.{first} or {second}"

    return mutate


def skip_node(weight: str) -> Mutation:
    """What the node with this weight made is left out: its input goes on in its place."""

    def mutate(model: ModelProto) -> None:
        (node,) = [node for node in model.graph.node if weight in node.input]
        _replace_reads(model, node.output[0], node.input[0])

    return mutate


def set_epsilon(value: float, inside: str) -> Mutation:
    """Another epsilon in every LayerNormalization whose weight's name has `inside` in it."""

    def mutate(model: ModelProto) -> None:
        found = 0
        for node in model.graph.node:
            if node.op_type == "LayerNormalization" and inside in node.input[1]:
                (epsilon,) = [attribute for attribute in node.attribute if attribute.name == "epsilon"]
                epsilon.f = value
                found += 1
        assert found, f"no LayerNormalization with a weight of {inside}"

    return mutate


def shift_positions(table: str) -> Mutation:
    """Every token but the first gets the position of the token before it."""

    def mutate(model: ModelProto) -> None:
        (node,) = [node for node in model.graph.node if table in node.input]
        place = list(model.graph.node).index(node)
        one, none = (numpy_helper.from_array(np.array(i, np.int64), f"shift_by_{i}") for i in (1, 0))
        model.graph.initializer.extend((one, none))
        earlier = helper.make_node("Sub", [node.input[1], one.name], ["earlier_positions"])
        first_kept = helper.make_node("Max", ["earlier_positions", none.name], ["shifted_positions"])
        node.input[1] = "shifted_positions"
        for offset, added in enumerate((earlier, first_kept)):
            model.graph.node.insert(place + offset, added)

    return mutate


def drop_padding_mask(model: ModelProto) -> None:
    """Padding is looked at like words: what asks which ids are 0 sees none."""
    comparisons = [node for node in model.graph.node if node.op_type == "Equal" and "input_ids" in node.input]
    assert comparisons, "nothing compares the ids with the padding's"
    model.graph.initializer.append(numpy_helper.from_array(np.array(1, np.int64), "no_padding"))
    model.graph.node.insert(0, helper.make_node("Max", ["input_ids", "no_padding"], ["ids_without_padding"]))
    for node in comparisons:
        node.input[list(node.input).index("input_ids")] = "ids_without_padding"


def _replace_reads(model: ModelProto, old: str, new: str) -> None:
    """Whatever read the value `old` reads `new`."""
    found = 0
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new
                found += 1
    assert found, f"nothing reads {old}"


def swap_tensors(path: Path, first: str, second: str) -> None:
    """All tensors below two modules change places in a safetensors file."""
    file = SafetensorsFile(path)
    names = [name for name in file.infos if name.startswith(f"{first}.")]
    assert names
    pairs = [(name, name.replace(first, second)) for name in names]
    values = {name: file.read(name).copy() for pair in pairs for name in pair}
    for ours, theirs in pairs:
        edit_tensor(path, ours, lambda _, new=values[theirs]: new)
        edit_tensor(path, theirs, lambda _, new=values[ours]: new)
