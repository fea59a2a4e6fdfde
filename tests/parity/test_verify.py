"""Replaying goldens: what it finds, and what it does not need."""

import subprocess
import sys
from collections.abc import Callable

import mutations
import pytest

import nexus_edge
from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.errors import BundleError
from nexus_edge.models.phi3_v.params import Phi3VisionParams
from nexus_edge.parity.goldens import read_goldens
from nexus_edge.parity.replay import replay

EXTRAS = (
    "torch",
    "onnx",
    "onnx_ir",
    "onnxscript",
    "safetensors",
    "ml_dtypes",
    "matplotlib",
    "huggingface_hub",
)
CopyOf = Callable[[Bundle], Bundle]


def test_a_good_bundle_passes(certified: Bundle) -> None:
    report = nexus_edge.verify(certified.root)
    assert report.verdict == "passed"
    stages = {check.stage for check in report.rungs[0].checks}
    assert stages >= {"crops", "tokens", "vision_encoder", "embed_tokens", "decoder", "greedy tokens"}


def test_goldens_are_small(certified: Bundle) -> None:
    assert certified.manifest.files["parity/goldens.safetensors"].size < 4_000_000, "they travel with every bundle"
    assert {golden.name for golden in read_goldens(certified)} == {"one image", "two images", "text"}


def test_a_changed_file_is_named(certified: Bundle, copy_of: CopyOf) -> None:
    bundle = copy_of(certified)
    path = bundle.graph("onnx", "decoder")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"decoder\.onnx: its SHA-256"):
        nexus_edge.verify(bundle)


def test_drift_is_named_by_stage_and_layer(certified: Bundle, copy_of: CopyOf, checkpoint: Checkpoint) -> None:
    factor = Phi3VisionParams.from_json(checkpoint.config).rope.magnitudes[0]
    bundle = copy_of(certified)
    mutations.edit_graph(bundle.graph("onnx", "decoder"), mutations.drop_longrope_factor(factor))
    report = replay(mutations.rehash(bundle))
    assert report.verdict == "rejected"
    assert report.rungs[0].first_failure is not None
    assert report.rungs[0].first_failure.place == "decoder, layer 0, present.0.key"


def test_shifted_crops_are_found_in_the_vision_encoder(certified: Bundle, copy_of: CopyOf) -> None:
    bundle = copy_of(certified)
    mutations.edit_graph(bundle.graph("onnx", "vision_encoder"), mutations.shift_crops)
    report = replay(mutations.rehash(bundle))
    assert report.rungs[0].first_failure is not None
    assert report.rungs[0].first_failure.stage == "vision_encoder"


def test_a_bundle_without_goldens_says_what_to_do(healthy: Bundle) -> None:
    with pytest.raises(BundleError, match="nexus-edge parity --update"):
        nexus_edge.verify(healthy)


def test_needs_the_base_install_only(certified: Bundle) -> None:
    """In a process where the packages of the extras cannot be imported."""
    script = f"""
import sys
for name in {EXTRAS}:
    sys.modules[name] = None
import nexus_edge
assert nexus_edge.verify({str(certified.root)!r}).verdict == "passed"
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
