"""Fixtures for tests of more than one folder."""

import errno
import importlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import golden_phi3
import pytest
import torch
import torch_operators
import toy_dual
import toy_vlm

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.recipe import find_recipe


@pytest.fixture(scope="session", autouse=True)
def operators_listed_once() -> Iterator[None]:
    """See torch_operators.py; nothing that is exported changes."""
    with pytest.MonkeyPatch.context() as patch:
        torch_operators.list_once(patch)
        yield


EXPORTS = {
    "coreml_dual",
    "coreml_vlm",
    "export_biomedclip",
    "golden_bundle",
    "replayable",
    "tiny_bundle",
    "tiny_openvino",
}
"""Fixtures that export; whoever comes first waits for them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test is slow where its file says so or it needs an export; the others are fast."""
    for item in items:
        if item.get_closest_marker("slow") is None:
            item.add_marker("slow" if EXPORTS.intersection(getattr(item, "fixturenames", ())) else "fast")


@pytest.fixture(scope="session")
def torchvision() -> Iterator[None]:
    """Makes torchvision importable, which the originals import.

    Its published build registers no operators beside a torch without CUDA and then stops at their absence. Nothing here
    calls them, so their names are enough.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    yield  # not a return: the library takes its names along when it is collected


@pytest.fixture(scope="session")
def open_clip(torchvision: None) -> ModuleType:
    """The original of BiomedCLIP."""
    return importlib.import_module("open_clip")


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """See toy_vlm.py; read-only."""
    return toy_vlm.write_bundle(tmp_path_factory.mktemp("bundles") / "toy")


@pytest.fixture(scope="session")
def toy_path(toy_bundle: Bundle) -> Path:
    """The toy bundle's folder."""
    return toy_bundle.root


@pytest.fixture(scope="session")
def dual_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """See toy_dual.py; read-only."""
    return toy_dual.write_bundle(tmp_path_factory.mktemp("bundles") / "toy-dual")


@pytest.fixture(scope="session")
def golden_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bundle]:
    """(recipe, golden config file, by default "config.json", targets) -> the golden weights as a bundle; read-only."""
    done: dict[tuple[str, str, tuple[str, ...]], Bundle] = {}

    def make(recipe: str, config: str = "config.json", targets: tuple[str, ...] = ("onnx",)) -> Bundle:
        from nexus_edge.pipeline.export import export  # heavy, and most tests export nothing

        key = (recipe, config, targets)
        if key not in done:
            folder = tmp_path_factory.mktemp("golden")
            checkpoint = golden_phi3.write_checkpoint(folder / "checkpoint", config)
            chosen = find_recipe("phi3-vision", recipe).with_targets(targets)
            export(checkpoint, chosen, folder / recipe, parity=False)
            done[key] = Bundle.open(folder / recipe)
        return done[key]

    return make


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The embedded checkpoint in int4, without parity; read-only."""
    return _embedded("phi3-vision", "int4", ("onnx",), tmp_path_factory)


@pytest.fixture(scope="session")
def tiny_openvino(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The embedded checkpoint in int4 for OpenVINO and for ONNX Runtime, without parity; read-only."""
    return _embedded("phi3-vision", "int4", ("openvino", "onnx"), tmp_path_factory)


@pytest.fixture(scope="session")
def coreml_vlm(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The embedded checkpoint in int4 for Core ML, its decoder in two packages, without parity; read-only."""
    pytest.importorskip("coremltools", reason="needs the extra `coreml`")
    from nexus_edge.models.phi3_v.static import packages as phi3_v

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phi3_v, "CHUNK_BYTES", 300_000)  # of half a million
        return _embedded("phi3-vision", "int4", ("coreml",), tmp_path_factory)


@pytest.fixture(scope="session")
def coreml_dual(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The embedded dual encoder in int8 for Core ML, without parity; read-only."""
    pytest.importorskip("coremltools", reason="needs the extra `coreml`")
    return _embedded("biomedclip", "int8", ("coreml",), tmp_path_factory)


def _embedded(model: str, precision: str, targets: tuple[str, ...], folders: pytest.TempPathFactory) -> Bundle:
    """A bundle of an embedded checkpoint, made by the first of pytest-xdist's workers that needs it; others wait."""
    base = folders.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root = base / f"{model}-{precision}-{'-'.join(targets)}"
    working = root.with_suffix(".working")
    while not root.is_dir():
        try:
            working.mkdir()
        except FileExistsError:
            time.sleep(0.1)
            continue
        try:
            if not root.is_dir():
                _export(model, precision, targets, root)
        finally:
            working.rmdir()
    return Bundle.open(root)


def _export(model: str, precision: str, targets: tuple[str, ...], root: Path) -> None:
    from nexus_edge.pipeline.export import export

    recipe = find_recipe(model, precision).with_targets(targets)
    export(open_checkpoint("tiny", recipe.checkpoint), recipe, root, parity=False)


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a file one that this user may not read, which root can of any file on a disk."""
    refused: set[Path] = set()
    opens = Path.open

    def refusing(path: Path, mode: str = "r", *arguments: object, **options: object) -> object:
        if path in refused:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opens(path, mode, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refusing)
    return refused.add
