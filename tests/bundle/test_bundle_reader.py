"""Opening a bundle: what was written is read back, what was changed is named, and links do not lead out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_edge.bundle import Bundle, Manifest
from nexus_edge.errors import BundleError


def test_what_is_written_is_read_back(bundle: Path, manifest: Manifest) -> None:
    opened = Bundle.open(bundle, check="sha256")
    assert opened.manifest.with_files({}) == manifest
    # sha256 of b"weights" and b"graph", from sha256sum
    assert {name: (info.size, info.sha256[:8]) for name, info in opened.manifest.files.items()} == {
        "onnx/decoder.onnx": (5, "eef93e1d"),
        "onnx/weights.safetensors": (7, "9a129038"),
    }
    assert opened.graph("onnx", "decoder").read_bytes() == b"graph"
    assert opened.file("onnx/weights.safetensors").read_bytes() == b"weights"
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_changed_file_of_the_same_size_is_named(bundle: Path) -> None:
    (bundle / "onnx" / "weights.safetensors").write_bytes(b"WEIGHTS")
    Bundle.open(bundle, check="size")
    with pytest.raises(BundleError, match=r"weights\.safetensors: its SHA-256 is not the manifest's"):
        Bundle.open(bundle, check="sha256")


def test_a_truncated_and_a_missing_file_are_named_without_hashing(bundle: Path) -> None:
    (bundle / "onnx" / "weights.safetensors").write_bytes(b"weight")
    with pytest.raises(BundleError, match=r"weights\.safetensors: has 6 bytes, the manifest says 7"):
        Bundle.open(bundle)
    (bundle / "onnx" / "weights.safetensors").unlink()
    with pytest.raises(BundleError, match=r"onnx/weights\.safetensors is missing"):
        Bundle.open(bundle)
    assert Bundle.open(bundle, check=None).manifest.name == "phi3-vision-int4"


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, lambda path: path.write_text("x")])
def test_what_is_no_bundle_is_refused(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "it")
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.open(tmp_path / "it")


@pytest.mark.parametrize(("name", "why"), [("x" * 5000, "File name too long"), ("loop", "Too many levels of symbolic")])
def test_what_is_no_folders_name_is_refused(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BundleError, match=f"is not a bundle .*{why}"):
        Bundle.open(tmp_path / name)


def test_unknown_target_and_graph_are_named(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    with pytest.raises(BundleError, match="was not exported for 'openvino', only for onnx"):
        opened.graph("openvino", "decoder")
    with pytest.raises(BundleError, match="no graph 'vision' for onnx, only decoder"):
        opened.graph("onnx", "vision")


def test_links_may_stay_inside_but_not_lead_out(bundle: Path) -> None:
    weights = bundle / "onnx" / "weights.safetensors"
    weights.rename(bundle / "w")
    weights.symlink_to(bundle / "w")
    Bundle.open(bundle)
    (bundle / "w").rename(bundle.parent / "w")
    weights.unlink()
    weights.symlink_to(bundle.parent / "w")
    with pytest.raises(BundleError, match="leads out of the bundle"):
        Bundle.open(bundle)
    weights.unlink()
    weights.symlink_to(weights)
    with pytest.raises(BundleError, match="is missing"):
        Bundle.open(bundle)


def test_a_folder_is_not_a_file(bundle: Path) -> None:
    with pytest.raises(BundleError, match="onnx is not a file"):
        Bundle.open(bundle).file("onnx")


def test_a_verdict_is_recorded_with_its_reports(bundle: Path) -> None:
    (bundle / "parity").mkdir()
    (bundle / "parity" / "report.json").write_text("{}")
    Bundle.open(bundle).with_parity({"verdict": "rejected", "rungs": []})
    (bundle / "parity" / "report.json").write_text('{"again": 1}')
    Bundle.open(bundle, check=None).with_parity({"verdict": "passed", "rungs": []})
    opened = Bundle.open(bundle, check="sha256")
    assert opened.manifest.parity == {"verdict": "passed", "rungs": []}
    assert opened.manifest.files["parity/report.json"].size == 12
    assert sorted(path.name for path in bundle.iterdir()) == ["manifest.json", "onnx", "parity"]
