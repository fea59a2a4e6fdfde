"""The bundle of the image tower alone: what is in it, what it can do, and what it says that it cannot."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import toy_dual

from nexus_edge.bundle import Bundle, BundleWriter
from nexus_edge.bundle.manifest import GraphInfo
from nexus_edge.errors import BundleError, InputError, OutputError
from nexus_edge.runtimes import DualEncoder, build_index, load_dual_encoder
from nexus_edge.runtimes.dual_encoder.ship import ship_image_tower

LABELS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle = toy_dual.write_bundle(tmp_path_factory.mktemp("whole") / "toy-dual")
    (bundle.root / "parity").mkdir()
    (bundle.root / "parity" / "report.json").write_text("{}")
    return bundle.with_parity({"verdict": "passed"})


@pytest.fixture(scope="module")
def shipped(whole: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    model = load_dual_encoder(whole)
    return ship_image_tower(whole, model.label_bank(LABELS), tmp_path_factory.mktemp("device") / "bundle")


@pytest.fixture
def device(shipped: Bundle) -> DualEncoder:
    return load_dual_encoder(shipped)


def test_it_holds_one_tower_and_the_bank(shipped: Bundle, whole: Bundle) -> None:
    assert set(shipped.manifest.files) == {
        "onnx/image_encoder.onnx", "onnx/image_encoder.data", "processor/config.json", "processor/vocab.txt",
        "labels.bank",
    }  # fmt: skip
    assert set(shipped.manifest.graphs["onnx"]) == {"image_encoder"}
    assert shipped.manifest.parity is None
    assert shipped.manifest.dual_encoder == whole.manifest.dual_encoder
    assert Bundle.open(shipped.root, check="sha256").manifest.name == "toy-dual-image"


def test_goldens_go_along(whole: Bundle, tmp_path: Path) -> None:
    bundle = Bundle.open(shutil.copytree(whole.root, tmp_path / "whole"))
    (bundle.root / "parity" / "goldens.safetensors").write_bytes(b"recorded")
    bundle = bundle.with_parity({"verdict": "passed"})
    shipped = ship_image_tower(bundle, load_dual_encoder(whole).label_bank(LABELS), tmp_path / "device")
    assert shipped.file("parity/goldens.safetensors").read_bytes() == b"recorded"
    assert "parity/report.json" not in shipped.manifest.files


def test_it_classifies_as_the_whole_does(device: DualEncoder, whole: Bundle) -> None:
    bank = device.bundled_bank
    assert bank is not None and bank.labels == LABELS
    for colour in LABELS:
        image = toy_dual.plain_image(colour)
        mine, theirs = device.classify(image, bank), load_dual_encoder(whole).classify(image, LABELS)
        assert mine.best == colour
        assert mine.top() == theirs.top()


def test_it_says_why_it_cannot_embed_text(device: DualEncoder) -> None:
    for call in (
        lambda: device.embed_texts(["red"]),
        lambda: device.classify(toy_dual.plain_image("red"), LABELS),
        lambda: device.label_bank(LABELS),
    ):
        with pytest.raises(BundleError, match="was shipped without its text tower, so it cannot embed text"):
            call()


def test_its_index_is_the_whole_models_index(device: DualEncoder, whole: Bundle, tmp_path: Path) -> None:
    paths = toy_dual.write_images(tmp_path, "red.png", "blue.png")
    index = build_index(device, paths, tmp_path / "i.safetensors").index
    assert load_dual_encoder(whole).search("blue", index, 1)[0].path == "blue.png"
    assert device.search(tmp_path / "red.png", index, 1)[0].path == "red.png"


def test_a_whole_bundle_has_no_bank(whole: Bundle) -> None:
    assert load_dual_encoder(whole).bundled_bank is None


def test_another_models_bank_is_refused(shipped: Bundle, tmp_path: Path) -> None:
    other = load_dual_encoder(toy_dual.write_bundle(tmp_path / "other", tint=2.0))
    bank = other.label_bank(LABELS)
    with pytest.raises(InputError, match="another text tower"):
        load_dual_encoder(shipped).classify(toy_dual.plain_image("red"), bank)


def test_nothing_is_replaced_unless_told(whole: Bundle, shipped: Bundle) -> None:
    bank = load_dual_encoder(whole).label_bank(("red", "cell"))
    with pytest.raises(OutputError, match="exists already"):
        ship_image_tower(whole, bank, shipped.root)
    again = ship_image_tower(whole, bank, shipped.root.with_name("again"))
    again = ship_image_tower(whole, load_dual_encoder(whole).label_bank(LABELS), again.root, force=True)
    assert load_dual_encoder(again).bundled_bank.labels == LABELS


def test_core_ml_packages_stay_behind(coreml_dual: Bundle, whole: Bundle, tmp_path: Path) -> None:
    """They name a bundle of both towers; alone they would be refused by whoever compares."""
    bank = load_dual_encoder(whole).label_bank(LABELS)
    with pytest.raises(InputError, match="holds Core ML files only, which are sealed together"):
        ship_image_tower(coreml_dual, bank, tmp_path / "device")
    root = shutil.copytree(whole.root, tmp_path / "both")
    shutil.copytree(coreml_dual.root / "coreml", root / "coreml")
    packages = {"coreml": _with_embeddings_of(whole, coreml_dual.manifest.graphs["coreml"])}
    writer = BundleWriter(tmp_path / "joined")
    with writer:
        shutil.copytree(root, writer.root, dirs_exist_ok=True)
        writer.commit(replace(whole.manifest, targets=("onnx", "coreml"), graphs={**whole.manifest.graphs, **packages}))
    shipped = ship_image_tower(Bundle.open(tmp_path / "joined"), bank, tmp_path / "device")
    assert shipped.manifest.targets == ("onnx",) and not (shipped.root / "coreml").exists()
    assert load_dual_encoder(Bundle.open(shipped.root, check="sha256")).bundled_bank is not None


def _with_embeddings_of(bundle: Bundle, graphs: Mapping[str, GraphInfo]) -> dict[str, GraphInfo]:
    """What another model's graphs would say if their embeddings were as long as this bundle's."""
    assert bundle.manifest.dual_encoder is not None
    size = bundle.manifest.dual_encoder.embed_dim
    return {
        name: replace(graph, outputs=tuple(replace(spec, shape=(*spec.shape[:-1], size)) for spec in graph.outputs))
        for name, graph in graphs.items()
    }
