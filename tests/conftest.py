"""Fixtures for tests of more than one folder."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import golden_phi3
import pytest
import torch
import toy_dual
import toy_vlm

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.recipe import find_recipe


@pytest.fixture(scope="session")
def open_clip() -> Iterator[ModuleType]:
    """The original of BiomedCLIP.

    It imports torchvision, whose published build registers no operators beside a torch without CUDA and then stops at
    their absence. Nothing here calls them, so their names are enough.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    yield importlib.import_module("open_clip")  # not a return: the library takes its names along when it is collected


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
        from nexus_edge.pipeline import export  # heavy, and most tests export nothing

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
    from nexus_edge.pipeline import export

    root = tmp_path_factory.mktemp("tiny") / "int4"
    recipe = find_recipe("phi3-vision", "int4")
    export(open_checkpoint("tiny", recipe.checkpoint), recipe, root, parity=False)
    return Bundle.open(root)


@pytest.fixture(scope="session")
def tiny_openvino(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The embedded checkpoint in int4 for OpenVINO and for ONNX Runtime, without parity; read-only."""
    from nexus_edge.pipeline import export

    root = tmp_path_factory.mktemp("tiny") / "int4"
    recipe = find_recipe("phi3-vision", "int4").with_targets(("openvino", "onnx"))
    export(open_checkpoint("tiny", recipe.checkpoint), recipe, root, parity=False)
    return Bundle.open(root)


@pytest.fixture(scope="session")
def coreml_vlm(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The embedded checkpoint in int4 for Core ML, without parity; read-only."""
    return _coreml("phi3-vision", "int4", tmp_path_factory)


@pytest.fixture(scope="session")
def coreml_dual(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The embedded dual encoder in int8 for Core ML, without parity; read-only."""
    return _coreml("biomedclip", "int8", tmp_path_factory)


def _coreml(model: str, precision: str, folders: pytest.TempPathFactory) -> Bundle:
    pytest.importorskip("coremltools", reason="needs the extra `coreml`")
    from nexus_edge.pipeline import export

    recipe = find_recipe(model, precision).with_targets(("coreml",))
    root = folders.mktemp("coreml") / precision
    export(open_checkpoint("tiny", recipe.checkpoint), recipe, root, parity=False)
    return Bundle.open(root)
