"""Each clean-up leaves the results of a graph as they were, and does what it is for."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from nexus_edge.targets.onnx import passes, schemas

X = np.arange(24, dtype=np.float32).reshape(2, 12)
Node = tuple[str, list[str], list[str], dict[str, object]]


def build(nodes: list[Node], constants: dict[str, np.ndarray], outputs: list[str]) -> ir.Model:
    """A model of float32 [2, 12] "x"; constants named "w..." are initializers, the others Constant nodes."""
    made = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))
        for name, value in constants.items()
        if not name.startswith("w")
    ]
    made += [helper.make_node(kind, inputs, results, **attributes) for kind, inputs, results, attributes in nodes]
    graph = helper.make_graph(
        made,
        "test",
        [helper.make_tensor_value_info("x", 1, [2, 12])],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name.startswith("w")],
    )
    opsets = [helper.make_opsetid("", 23)]
    return ir.from_proto(helper.make_model(graph, opset_imports=opsets, ir_version=11))


def run(model: ir.Model) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    file = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"]).run(None, {"x": X})


def kinds(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph if node.op_type != "Constant"]


def check(model: ir.Model, change: Callable[[ir.Model], None], expected: list[str]) -> None:
    before = run(model)
    names = [value.name for value in model.graph.outputs]
    change(model)
    assert kinds(model) == expected
    assert [value.name for value in model.graph.outputs] == names
    for old, new in zip(before, run(model), strict=True):
        assert np.array_equal(old, new)


def test_split_through_a_sequence_becomes_a_split() -> None:
    model = build(
        [
            ("SplitToSequence", ["x", "sizes"], ["sequence"], {"axis": 1}),
            ("SequenceAt", ["sequence", "two"], ["c"], {}),
            ("SequenceAt", ["sequence", "zero"], ["a"], {}),
            ("Concat", ["c", "a"], ["y"], {"axis": 1}),
        ],
        {"sizes": np.array([3, 4, 5]), "two": np.array(2), "zero": np.array(0)},
        ["y", "a"],
    )
    check(model, passes.split_without_sequences, ["Split", "Concat"])


@pytest.mark.parametrize(
    ("sizes", "uses"),
    [
        pytest.param(np.array(4), [("SequenceAt", ["sequence", "zero"], ["y"], {})], id="pieces of one size"),
        pytest.param(np.array([3, 9]), [("SequenceLength", ["sequence"], ["y"], {})], id="another use of the sequence"),
    ],
)
def test_other_uses_of_sequences_stay(sizes: np.ndarray, uses: list[Node]) -> None:
    nodes: list[Node] = [("SplitToSequence", ["x", "sizes"], ["sequence"], {"axis": 1}), *uses]
    model = build(nodes, {"sizes": sizes, "zero": np.array(0)}, ["y"])
    check(model, passes.split_without_sequences, [kind for kind, *_ in nodes])


def test_identities_go_but_not_those_that_name_an_output() -> None:
    model = build(
        [
            ("Identity", ["x"], ["a"], {}),
            ("Neg", ["a"], ["b"], {}),
            ("Identity", ["b"], ["c"], {}),
            ("Identity", ["c"], ["d"], {}),
            ("Abs", ["d"], ["y"], {}),
            ("Identity", ["x"], ["z"], {}),
        ],
        {},
        ["y", "z"],
    )
    check(model, passes.drop_identities, ["Neg", "Abs", "Identity"])


def test_a_reshaped_weight_is_stored_in_its_shape() -> None:
    model = build(
        [("Reshape", ["w", "shape"], ["flat"], {}), ("MatMul", ["x", "flat"], ["y"], {})],
        {"w": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "shape": np.array([12, -1])},
        ["y"],
    )
    before = run(model)
    passes.reshape_initializers(model)
    weight = model.graph.initializers["w"]
    assert kinds(model) == ["MatMul"]
    assert weight.shape is not None
    assert weight.shape.numpy() == (12, 2)
    # attach_weights gives the initializer its bytes in the new shape; here they are still in the old one.
    weight.const_value = ir.tensor(np.arange(24, dtype=np.float32).reshape(12, 2), name="w")
    assert np.array_equal(run(model)[0], before[0])


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param([("Reshape", ["w", "flat"], ["y"], {}), ("Neg", ["w"], ["z"], {})], id="weight with another use"),
        pytest.param([("Reshape", ["x", "flat"], ["y"], {}), ("Neg", ["w"], ["z"], {})], id="no weight"),
        pytest.param([("Reshape", ["w", "flat"], ["y"], {}), ("Neg", ["x"], ["z"], {})], id="result is an output"),
        pytest.param(
            [("Reshape", ["w", "keep"], ["r"], {}), ("Neg", ["r"], ["y"], {}), ("Neg", ["x"], ["z"], {})],
            id="0 copies a dimension",
        ),
    ],
)
def test_other_reshapes_stay(nodes: list[Node]) -> None:
    constants = {"w": X.copy(), "flat": np.array([-1]), "keep": np.array([0, 3, 4])}
    model = build(nodes, constants, ["y", "z"])
    check(model, passes.reshape_initializers, [kind for kind, *_ in nodes])


def test_bytes_of_a_weight_are_seen_as_nibbles() -> None:
    nodes: list[Node] = [
        ("Nibbles", ["w"], ["n"], {"domain": schemas.NIBBLES.domain}),
        ("Cast", ["n"], ["y"], {"to": 1}),
    ]
    model = build(nodes, {"w": np.array([[0x10, 0x32], [0x54, 0xF6]], np.uint8)}, ["y"])
    model.opset_imports[schemas.NIBBLES.domain] = 1
    passes.view_nibbles(model)
    weight = model.graph.initializers["w"]
    assert kinds(model) == ["Cast"]
    assert (weight.dtype, weight.shape) == (ir.DataType.UINT4, ir.Shape([2, 4]))
    assert schemas.NIBBLES.domain not in model.opset_imports
    # attach_weights gives the initializer its bytes in the new type; here they still have the old one.
    bytes_ = np.array([0x10, 0x32, 0x54, 0xF6], np.uint8)
    weight.const_value = ir.PackedTensor(bytes_, ir.DataType.UINT4, shape=[2, 4], name="w")
    assert run(model)[0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 15]]


def test_shapes_of_the_same_sizes_are_taken_once() -> None:
    model = build(
        [
            ("Neg", ["x"], ["a"], {}),
            ("Transpose", ["x"], ["t"], {}),
            ("Shape", ["x"], ["first"], {}),
            ("Shape", ["a"], ["same"], {}),
            ("Shape", ["t"], ["turned"], {}),
            ("Shape", ["t"], ["last"], {"start": -1}),
            ("Shape", ["a"], ["rows"], {"end": 1}),
            ("Concat", ["first", "same", "turned", "last", "rows"], ["y"], {"axis": 0}),
        ],
        {},
        ["y"],
    )
    for value in (node.outputs[0] for node in model.graph):
        value.shape = {"a": ir.Shape(["n", 12]), "t": ir.Shape([12, "n"])}.get(str(value.name))
    model.graph.inputs[0].shape = ir.Shape(["n", 12])
    check(model, passes.share_shapes, ["Neg", "Transpose", "Shape", "Shape", "Shape", "Concat"])


def test_shapes_of_unknown_sizes_stay() -> None:
    nodes: list[Node] = [("Neg", ["x"], ["a"], {}), ("Shape", ["a"], ["y"], {}), ("Shape", ["x"], ["z"], {})]
    model = build(nodes, {}, ["y", "z"])
    model.graph.inputs[0].shape = ir.Shape([None, 12])
    model.graph.node(0).outputs[0].shape = ir.Shape([None, 12])
    check(model, passes.share_shapes, ["Neg", "Shape", "Shape"])


NORM: Node = ("LayerNormalization", ["sum", "wscale"], ["y"], {})


@pytest.mark.parametrize(
    ("others", "outputs", "expected"),
    [
        pytest.param([], ["y"], "Sum", id="the norm alone reads it"),
        pytest.param([("Neg", ["sum"], ["z"], {})], ["y", "z"], "Add", id="others read it, so nothing is fused"),
        pytest.param([], ["y", "sum"], "Add", id="an output of the graph"),
    ],
)
def test_a_sum_before_a_norm_is_kept_from_its_slow_fusion(
    others: list[Node], outputs: list[str], expected: str
) -> None:
    nodes: list[Node] = [("Neg", ["x"], ["a"], {}), ("Add", ["x", "a"], ["sum"], {}), NORM, *others]
    model = build(nodes, {"wscale": np.ones(12, np.float32)}, outputs)
    check(model, passes.keep_norms_apart, ["Neg", expected, "LayerNormalization", *(kind for kind, *_ in others)])


def test_layers_are_named_after_their_last_node() -> None:
    model = build(
        [("Neg", ["x"], ["a"], {}), ("Abs", ["a"], ["b"], {}), ("Exp", ["b"], ["c"], {}), ("Neg", ["c"], ["y"], {})],
        {},
        ["y"],
    )
    scopes = ["model.layers.0.mlp", "model.layers.0", "model.layers.1.norm", "model.layers.1"]
    for node, scope in zip(model.graph, scopes, strict=True):
        inner = [scope.rpartition(".")[0]] if scope.endswith(("mlp", "norm")) else []
        node.metadata_props["pkg.torch.onnx.name_scopes"] = repr(
            ["", *(f"{passes.PARAMETER_PREFIX}{name}" for name in (*inner, scope))]
        )
    check(model, passes.name_layers, ["Neg", "Abs", "Exp", "Neg"])
    assert [node.outputs[0].name for node in model.graph] == ["a", "model.layers.0.output", "c", "y"]
    passes.drop_metadata(model)
    assert b"name_scopes" not in ir.to_proto(model).SerializeToString()
