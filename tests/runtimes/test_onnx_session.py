"""A damaged graph is one line that names the file."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.engines.onnx.engine import OnnxEngine
from nexus_edge.engines.onnx.session import open_session
from nexus_edge.errors import BundleError
from nexus_edge.runtimes import EngineOptions


@pytest.fixture
def folder(toy_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_path / "onnx", tmp_path / "onnx"))


def error_of(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        open_session(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_missing_graph(folder: Path) -> None:
    assert "doesn't exist" in error_of(folder / "other.onnx")


def test_a_truncated_graph(folder: Path) -> None:
    path = folder / "decoder.onnx"
    path.write_bytes(path.read_bytes()[:-100])
    assert "cannot be loaded" in error_of(path)


def test_truncated_weights(folder: Path) -> None:
    data = folder / "decoder.data"
    data.write_bytes(data.read_bytes()[:-100])
    assert "out of bounds" in error_of(folder / "decoder.onnx")


def test_missing_weights(folder: Path) -> None:
    (folder / "decoder.data").unlink()
    assert "does not exist" in error_of(folder / "decoder.onnx")


def test_names_that_are_no_text(folder: Path) -> None:
    graph = folder / "embed_tokens.onnx"
    content = graph.read_bytes()
    assert b"Gather" in content
    graph.write_bytes(content.replace(b"Gather", b"\xb4ather"))  # which the message of the error holds
    assert "can't decode byte 0xb4" in error_of(graph)


def test_threads_are_those_asked_for(toy_path: Path) -> None:
    session = open_session(toy_path / "onnx" / "decoder.onnx", threads=1)
    assert session.get_session_options().intra_op_num_threads == 1


def test_an_error_while_running_names_the_graph(toy_bundle: Bundle) -> None:
    decoder = OnnxEngine(toy_bundle, EngineOptions()).decoder()
    with pytest.raises(BundleError, match=r"embed_tokens.onnx: fails when it runs .*; export the bundle again"):
        decoder.embed(np.array([10**6]))  # no such token


def test_a_graph_whose_products_would_saturate_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("graph.cc:4164 AddInitializedOrtValue Attempt to replace the existing tensor")

    monkeypatch.setattr("onnxruntime.InferenceSession", refuse)  # what ONNX Runtime does where there is no VNNI
    assert "would be wrong on this CPU, which has no VNNI" in error_of(folder / "decoder.onnx")
