"""Graphs whose files declare something else than the manifest, and files that cannot be read: one line when opened."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest
import toy_dual
from onnx import TensorProto, helper

import nexus_edge
from nexus_edge.bundle import Bundle, GraphInfo, TensorSpec
from nexus_edge.engines.interface import ANY_SIZE, interface_problems, require_interface
from nexus_edge.engines.openvino.session import specs_of
from nexus_edge.errors import BundleError
from nexus_edge.runtimes import DualEncoder, EngineOptions

SPEC = TensorSpec("x", "float32", ("batch", 3))
OUT = TensorSpec("y", "float32", (1,))
INFO = GraphInfo("onnx/g.onnx", (SPEC,), (OUT,), "float32")


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (SPEC, None),
        (TensorSpec("x", "float32", (ANY_SIZE, 3)), None),
        (TensorSpec("x", "float16", ("batch", 3)), "input x is float16 ['batch', 3], not float32 ['batch', 3]"),
        (TensorSpec("x", "float32", ("batch", 3, 1)), "input x is float32 ['batch', 3, 1], not float32 ['batch', 3]"),
        (TensorSpec("x", "float32", ("batch", 4)), "input x is float32 ['batch', 4], not float32 ['batch', 3]"),
        (TensorSpec("x", "float32", (1, 3)), "input x is float32 [1, 3], not float32 ['batch', 3]"),
        (
            TensorSpec("x", "float32", ("batch", ANY_SIZE)),
            "input x is float32 ['batch', '?'], not float32 ['batch', 3]",
        ),
        (TensorSpec("z", "float32", ("batch", 3)), "input z is not in the manifest; input x is missing"),
    ],
)
def test_what_differs_is_named(found: TensorSpec, problem: str | None) -> None:
    assert "; ".join(interface_problems(INFO, {found.name: found}, {"y": OUT})) == (problem or "")


def test_of_several_differences_the_first_is_told_in_one_line() -> None:
    with pytest.raises(BundleError) as caught:
        require_interface(Path("g.onnx"), INFO, {}, {})
    assert str(caught.value) == (
        "g.onnx: is not the graph that manifest.json describes: input x is missing, and 1 more; export the bundle again"
    )


OTHERS = {
    "type": (TensorProto.INT32, ("batch", "tokens")),
    "size": (TensorProto.INT64, ("batch", 9)),
    "rank": (TensorProto.INT64, ("batch", "tokens", 1)),
    "no rank": (TensorProto.INT64, None),
}
"""Of the text tower's input, which is int64 [batch, tokens]."""


@pytest.fixture
def dual(dual_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A copy, to be damaged."""
    return Bundle.open(shutil.copytree(dual_bundle.root, tmp_path / "bundle"))


@pytest.mark.parametrize("other", OTHERS)
def test_an_onnx_graph_that_declares_something_else(other: str, dual: Bundle) -> None:
    path = dual.graph("onnx", "text_encoder")
    kind, shape = OTHERS[other]
    given = helper.make_tensor_value_info("input_ids", kind, shape)
    result = helper.make_tensor_value_info("text_embeds", TensorProto.FLOAT, None)
    node = helper.make_node("Cast", ["input_ids"], ["text_embeds"], to=TensorProto.FLOAT)
    graph = helper.make_graph([node], "other", [given], [result])
    onnx.save(helper.make_model(graph, opset_imports=toy_dual.OPSETS, ir_version=10), path)
    loaded = nexus_edge.load(Bundle.open(dual.root, check=None), EngineOptions(threads=1))
    assert isinstance(loaded, DualEncoder)
    message = error_of(lambda: loaded.embed_texts(["red"]))
    assert message.startswith(f"{path}: is not the graph that manifest.json describes: input input_ids is ")


def test_a_vlm_is_refused_at_load(toy_bundle: Bundle) -> None:
    """Its decoder is opened there."""
    graphs = {name: dict(infos) for name, infos in toy_bundle.manifest.graphs.items()}
    decoder = graphs["onnx"]["decoder"]
    first, *rest = decoder.inputs
    graphs["onnx"]["decoder"] = replace(decoder, inputs=(replace(first, dtype="float16"), *rest))
    bundle = replace(toy_bundle, manifest=replace(toy_bundle.manifest, graphs=graphs))
    message = error_of(lambda: nexus_edge.load(bundle, EngineOptions(threads=1)))
    assert "decoder.onnx: is not the graph" in message
    assert "input inputs_embeds is float32 ['batch', 'tokens', 32], not float16" in message


@pytest.mark.parametrize("name", ["onnx/text_encoder.onnx", "onnx/text_encoder.data"])
def test_a_file_that_may_not_be_read_is_named(name: str, dual: Bundle, unreadable: Callable[[Path], None]) -> None:
    loaded = nexus_edge.load(dual, EngineOptions(threads=1))
    assert isinstance(loaded, DualEncoder)
    unreadable(dual.root / name)
    assert error_of(lambda: loaded.embed_texts(["red"])).startswith(f"{dual.root / name}: cannot be read")
    assert loaded.embed_images([toy_dual.plain_image("red")]).shape == (1, toy_dual.DIM), "the other tower is whole"


def test_a_folder_in_the_place_of_weights_is_named(dual: Bundle) -> None:
    path = dual.root / "onnx" / "text_encoder.data"
    path.unlink()
    path.mkdir()
    loaded = nexus_edge.load(Bundle.open(dual.root, check=None), EngineOptions(threads=1))
    assert isinstance(loaded, DualEncoder)
    assert "onnx/text_encoder.data is not a file" in error_of(lambda: loaded.embed_texts(["red"]))


def test_hashing_names_the_file_that_may_not_be_read(dual: Bundle, unreadable: Callable[[Path], None]) -> None:
    path = dual.root / "onnx" / "image_encoder.data"
    unreadable(path)
    assert error_of(lambda: Bundle.open(dual.root, check="sha256")).startswith(f"{path}: cannot be read (Permission")


@pytest.mark.parametrize(
    ("kind", "name"), [("bf16", "bfloat16"), ("f16", "float16"), ("u8", "uint8"), ("i64", "int64")]
)
def test_openvino_types_have_the_manifests_names(kind: str, name: str) -> None:
    port = ov.opset13.parameter([-1, 2], getattr(ov.Type, kind), name="x")
    model = ov.Model([ov.opset13.result(port)], [port])
    model.inputs[0].get_tensor().set_names({"x"})
    assert specs_of(model.inputs) == {"x": TensorSpec("x", name, (ANY_SIZE, 2))}


def test_an_openvino_port_of_any_rank_is_told_from_one_of_some(tmp_path: Path) -> None:
    port = ov.opset13.parameter(ov.PartialShape.dynamic(), np.float32, name="x")
    port.output(0).tensor.set_names({"x"})
    model = ov.Model([ov.opset13.result(port)], [port])
    assert interface_problems(INFO, specs_of(model.inputs), {"y": OUT})


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(BundleError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message
