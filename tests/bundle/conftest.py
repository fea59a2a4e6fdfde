"""A small bundle and the means to write one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_edge.bundle import BundleWriter, GraphInfo, Manifest, Source, TensorSpec

DECODER = GraphInfo(
    file="onnx/decoder.onnx",
    inputs=(TensorSpec("attention_mask", "int64", ("batch", "total")),),
    outputs=(TensorSpec("logits", "float32", ("batch", 1, 512)),),
    scheme="int4-g32",
    weights="onnx/weights.safetensors",
)


@pytest.fixture
def manifest() -> Manifest:
    """For a bundle with one graph."""
    return Manifest(
        model_type="phi3_v",
        name="phi3-vision-int4",
        toolkit_version="0.1.0",
        source=Source("tiny", None, "trained-tiny"),
        recipe={"name": "phi3-vision-int4", "graphs": {}},
        targets=("onnx",),
        graphs={"onnx": {"decoder": DECODER}},
        context_length=1024,
    )


@pytest.fixture
def fill() -> Callable[..., None]:
    """Writes the files of that bundle into an open writer."""

    def write(writer: BundleWriter, weights: bytes = b"weights") -> None:
        (writer.root / "onnx").mkdir()
        (writer.root / "onnx" / "decoder.onnx").write_bytes(b"graph")
        (writer.root / "onnx" / "weights.safetensors").write_bytes(weights)

    return write


@pytest.fixture
def export(manifest: Manifest, fill: Callable[..., None]) -> Callable[..., None]:
    """Makes that bundle at a place."""

    def make(out: Path, weights: bytes = b"weights", force: bool = False) -> None:
        with BundleWriter(out, force) as writer:
            fill(writer, weights)
            writer.commit(manifest)

    return make


@pytest.fixture
def bundle(tmp_path: Path, export: Callable[..., None]) -> Path:
    """That bundle, alone in its folder."""
    export(tmp_path / "out" / "bundle")
    return tmp_path / "out" / "bundle"
