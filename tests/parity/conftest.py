"""A small bundle of the embedded checkpoint, made once, and copies of it that tests damage."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint, open_checkpoint
from nexus_edge.parity.certify import certify
from nexus_edge.parity.ladder import prepare
from nexus_edge.parity.rungs import p2_graph
from nexus_edge.recipe import find_recipe


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return open_checkpoint("tiny", "microsoft/Phi-3-vision-128k-instruct")


@pytest.fixture(scope="session")
def healthy(tiny_bundle: Bundle) -> Bundle:
    """An int4 bundle without parity; read-only."""
    return tiny_bundle


@pytest.fixture(scope="session")
def full_precision_files(
    healthy: Bundle, checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, p2_graph.Files]:
    """The graphs that P2 judges, by name; read-only."""
    run, folder = prepare(healthy, checkpoint), tmp_path_factory.mktemp("full-precision")
    return {"onnx": p2_graph.export_full_precision(run, folder, "onnx")}


@pytest.fixture(scope="session")
def certified(
    healthy: Bundle,
    checkpoint: Checkpoint,
    full_precision_files: dict[str, p2_graph.Files],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """The bundle with its report and goldens; read-only."""
    root = tmp_path_factory.mktemp("parity") / "certified"
    shutil.copytree(healthy.root, root)
    bundle = Bundle.open(root)
    with pytest.MonkeyPatch.context() as patch:
        # P2's own export takes as long as all the rest of the ladder, and it is here already.
        patch.setattr(p2_graph, "export_full_precision", lambda run, folder, target: full_precision_files[target])
        report = certify(bundle, checkpoint)
    return bundle.with_parity(report.summary)


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Bundle], Bundle]:
    """A bundle's copy that a test may damage."""

    def make(bundle: Bundle) -> Bundle:
        shutil.copytree(bundle.root, tmp_path / bundle.root.name)
        return Bundle.open(tmp_path / bundle.root.name)

    return make


@pytest.fixture(scope="session")
def biomedclip_checkpoint() -> Checkpoint:
    return open_checkpoint("tiny", find_recipe("biomedclip", "int8").checkpoint)


@pytest.fixture(scope="session")
def export_biomedclip(
    biomedclip_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Bundle]:
    """Recipe -> a bundle of the embedded dual encoder without parity; read-only, each made once."""
    done: dict[str, Bundle] = {}

    def make(recipe: str) -> Bundle:
        from nexus_edge.pipeline.export import export

        if recipe not in done:
            root = tmp_path_factory.mktemp("biomedclip") / recipe
            export(biomedclip_checkpoint, find_recipe("biomedclip", recipe).with_targets(("onnx",)), root, parity=False)
            done[recipe] = Bundle.open(root)
        return done[recipe]

    return make


@pytest.fixture(scope="session")
def healthy_dual(export_biomedclip: Callable[[str], Bundle]) -> Bundle:
    """An int8 bundle without parity; read-only."""
    return export_biomedclip("int8")


@pytest.fixture(scope="session")
def dual_full_precision_files(
    healthy_dual: Bundle, biomedclip_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, p2_graph.Files]:
    """The graphs that P2 judges; read-only."""
    run = prepare(healthy_dual, biomedclip_checkpoint)
    return {"onnx": p2_graph.export_full_precision(run, tmp_path_factory.mktemp("dual-full-precision"), "onnx")}


@pytest.fixture(scope="session")
def certified_dual(
    healthy_dual: Bundle,
    biomedclip_checkpoint: Checkpoint,
    dual_full_precision_files: dict[str, p2_graph.Files],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """The bundle with its report and goldens; read-only."""
    root = tmp_path_factory.mktemp("parity") / "certified-dual"
    shutil.copytree(healthy_dual.root, root)
    bundle = Bundle.open(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(p2_graph, "export_full_precision", lambda run, folder, target: dual_full_precision_files[target])
        report = certify(bundle, biomedclip_checkpoint)
    return bundle.with_parity(report.summary)
