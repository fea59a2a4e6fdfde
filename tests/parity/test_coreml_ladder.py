"""The ladder on saved Core ML packages: it passes what is sound, and finds what was broken afterwards, in its layer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from coreml_mutations import WEIGHTS, overwrite, package
from mutations import rehash

from nexus_edge.bundle import Bundle, Manifest
from nexus_edge.checkpoints import Checkpoint, open_checkpoint
from nexus_edge.engines.probes import runner_of
from nexus_edge.parity import ladder
from nexus_edge.parity.goldens import write_goldens
from nexus_edge.parity.ladder import prepare
from nexus_edge.parity.replay import replay
from nexus_edge.parity.report.report import CARRIED, NotRunError, Report, Rung
from nexus_edge.parity.rungs import p2_graph
from nexus_edge.pipeline.build import Targets
from nexus_edge.pipeline.plan import Plan
from nexus_edge.recipe import find_recipe

pytestmark = pytest.mark.slow

Copy = Callable[[Bundle], Bundle]

# The functions of a package share their weights.
BROKEN = {("image_encoder", 2), ("image_encoder.image", 2)}
PACKAGE, WEIGHT = (
    "image_encoder",
    "visual.trunk.blocks.2.attn.proj.weight",
)  # square, so that its transpose has its shape


@pytest.fixture(scope="module")
def dual_checkpoint() -> Checkpoint:
    return open_checkpoint("tiny", find_recipe("biomedclip", "int8").checkpoint)


@pytest.fixture
def coreml(coreml_dual: Bundle) -> Bundle:
    """Both towers of the embedded checkpoint in int8; read-only."""
    return coreml_dual


def judge(bundle: Bundle, checkpoint: Checkpoint, *rungs: str) -> Report:
    return ladder.run(prepare(bundle, checkpoint), rungs)


def alone(rung: Rung) -> set[tuple[str, int | None]]:
    """Stage and layer of what failed on the reference's values; carried on, it fails in all layers behind."""
    failed = (check for check in rung.checks if check.status == "failed")
    return {(check.stage, check.layer) for check in failed if not check.stage.endswith(CARRIED)}


def test_a_sound_bundle_passes_and_shows_its_drift(coreml: Bundle, dual_checkpoint: Checkpoint) -> None:
    report = judge(coreml, dual_checkpoint, "P0", "P3", "P5")
    assert [rung.status for rung in report.rungs] == ["passed"] * 3
    graphs = {check.stage for check in report.rungs[0].checks if check.target == "coreml"}
    assert graphs == {*coreml.manifest.graphs["coreml"], "packages", "storage"}
    layers = {(check.stage, check.layer) for check in report.rungs[1].checks}
    for stage in ("image_encoder", "image_encoder, carried"):
        assert {(stage, layer) for layer in range(6)} <= layers
    for stage in ("text_encoder", "text_encoder, carried"):
        assert {(stage, layer) for layer in range(3)} <= layers


def test_a_full_precision_package_is_the_reference(coreml: Bundle, dual_checkpoint: Checkpoint) -> None:
    assert judge(coreml, dual_checkpoint, "P2").verdict == "passed"


def test_p2_gives_every_target_a_folder_of_its_own(
    coreml: Bundle, dual_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two targets that come whole are both built."""
    roots = []

    def build(source: Checkpoint, plan: Plan, targets: Targets, root: Path) -> Manifest:
        assert not list(root.iterdir())
        roots.append(root)
        return replace(coreml.manifest, targets=tuple(targets), graphs={target: {} for target in targets})

    monkeypatch.setattr("nexus_edge.pipeline.build.build", build)
    monkeypatch.setattr(p2_graph, "piecewise", lambda target: None)
    for target in ("openvino", "coreml"):
        p2_graph.export_full_precision(prepare(coreml, dual_checkpoint), tmp_path, target)
    assert len(roots) == 2


def test_one_scale_is_seen_in_its_layer(coreml: Bundle, dual_checkpoint: Checkpoint, copy_of: Copy) -> None:
    def double_one(scales: np.ndarray) -> np.ndarray:
        changed = scales.copy()
        changed[5] *= 2
        return changed

    report = judge(overwrite(copy_of(coreml), PACKAGE, WEIGHT, "scale", double_one), dual_checkpoint, "P0", "P3")
    failures = alone(report.rungs[1])
    assert report.rungs[0].status == "passed" and failures == BROKEN


def test_a_transposed_weight_is_seen_in_its_layer(coreml: Bundle, dual_checkpoint: Checkpoint, copy_of: Copy) -> None:
    report = judge(overwrite(copy_of(coreml), PACKAGE, WEIGHT, "data", np.transpose), dual_checkpoint, "P3")
    failures = alone(report.rungs[0])
    assert failures == BROKEN


def test_a_package_that_takes_something_else(coreml: Bundle, dual_checkpoint: Checkpoint, copy_of: Copy) -> None:
    from coremltools.proto import Model_pb2

    bundle = copy_of(coreml)
    file = bundle.graph("coreml", "text_encoder_ios17")
    model = Model_pb2.Model()
    model.ParseFromString(file.read_bytes())
    model.description.input[0].type.multiArrayType.shape[1] += 1
    file.write_bytes(model.SerializeToString())
    report = judge(rehash(bundle), dual_checkpoint, "P0")
    (failed,) = (check for check in report.rungs[0].checks if check.status == "failed")
    assert failed.stage == "text_encoder_ios17" and "input input_ids is int32 [1, 65]" in str(failed.problem)


def test_a_truncated_weight_file_stops_the_rungs_above(
    coreml: Bundle, dual_checkpoint: Checkpoint, copy_of: Copy
) -> None:
    bundle = copy_of(coreml)
    weights = package(bundle, PACKAGE) / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-4096])
    report = judge(rehash(bundle), dual_checkpoint, "P0", "P3")
    failed = {check.stage: str(check.problem) for check in report.rungs[0].checks if check.status == "failed"}
    assert all(stage.startswith("image_encoder") and "truncated file?" in text for stage, text in failed.items())
    assert "image_encoder" in failed
    assert report.rungs[1].reason is not None and "P0 failed for image_encoder" in report.rungs[1].reason


def test_what_the_fixed_shapes_do_not_hold_is_not_run(coreml: Bundle) -> None:
    stage = runner_of("coreml").open(coreml.graph("coreml", "text_encoder"), "text_encoder")
    with pytest.raises(NotRunError, match=r"made for \[1, 64\], the original was given \[1, 65\]"):
        stage.run({"input_ids": np.ones((1, 65), np.int64)})


def test_goldens_replay_without_torch(coreml: Bundle, dual_checkpoint: Checkpoint, copy_of: Copy) -> None:
    bundle = copy_of(coreml)
    write_goldens(prepare(bundle, dual_checkpoint), bundle.root / "parity")
    report = replay(bundle.with_parity({"verdict": "not run"}))
    assert report.verdict == "passed" and report.targets == ("coreml",)
