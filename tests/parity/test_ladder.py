"""What the ladder says where it cannot climb, and where it goes another way."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.errors import InputError
from nexus_edge.parity import ladder, p4_scheme
from nexus_edge.parity.certify import certify
from nexus_edge.parity.goldens import write_goldens
from nexus_edge.parity.ladder import make_lab
from nexus_edge.parity.replay import replay
from nexus_edge.parity.runners import runner_of
from nexus_edge.parity.sources import load_full_precision
from nexus_edge.parity.vlm import scheme
from nexus_edge.parity.vlm.streamed import capture_streamed, checkpoint_reader

TOO_LITTLE = 1000  # bytes


def test_what_does_not_fit_is_not_run_and_never_passed(healthy: Bundle, checkpoint: Checkpoint) -> None:
    report = ladder.run(healthy, checkpoint, rungs=("P2", "P3", "P5"), max_memory=TOO_LITTLE)
    assert {rung.status for rung in report.rungs} == {"not run"}
    assert all("--max-memory" in str(rung.reason) for rung in report.rungs)
    assert report.verdict == "not run"


def test_a_checkpoint_that_is_gone(healthy: Bundle, checkpoint: Checkpoint) -> None:
    """What compares the bundle with itself still runs."""
    lab = make_lab(healthy, checkpoint)
    lab.checkpoint = "no checkpoint: it is gone"
    report = ladder.climb(lab, ("P0", "P2", "P4", "P5"))
    assert [rung.status for rung in report.rungs[:3]] == ["passed", "not run", "not run"]
    assert report.rungs[3].status in ("passed", "ambiguous")
    assert report.rungs[1].reason == "no checkpoint: it is gone"
    assert report.verdict == "incomplete"
    assert report.missing == tuple(f"{name} was not run: no checkpoint: it is gone" for name in ("P2", "P4"))
    assert ladder.climb(lab, ("P0", "P4"), skippable=("P4",)).verdict == "passed"
    with pytest.raises(InputError, match="no rung P9"):
        ladder.climb(lab, ("P0",), skippable=("P9",))


def test_a_rejected_bundle_is_cleared_by_the_whole_ladder_only(healthy: Bundle, checkpoint: Checkpoint) -> None:
    """Half a climb that holds is no reason to forget what the whole one found."""
    manifest = replace(healthy.manifest, parity={"verdict": "rejected", "reason": "P4: logits"})
    lab = make_lab(replace(healthy, manifest=manifest), checkpoint)
    report = ladder.climb(lab, ("P0",))
    assert [rung.status for rung in report.rungs] == ["passed"]
    assert report.verdict == "rejected"
    assert report.standing == "P4: logits"


def test_unknown_rungs_and_goldens(healthy: Bundle, checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rung P7"):
        ladder.run(healthy, checkpoint, rungs=("P7",))
    with pytest.raises(InputError, match="no such folder"):
        ladder.run(healthy, checkpoint, rungs=("P1",), goldens=tmp_path / "nowhere")


def test_streamed_and_resident_agree(healthy: Bundle, checkpoint: Checkpoint) -> None:
    """The same layers in the same order: what is held in memory at a time changes no bit."""
    import torch

    from nexus_edge.models import build_model

    case = make_lab(healthy, checkpoint).text_case
    resident = scheme.capture(load_full_precision(checkpoint), case)
    with torch.device("meta"):
        model = build_model(checkpoint)
    streamed = capture_streamed(model, checkpoint_reader(checkpoint, model), case)
    assert set(resident) <= set(streamed)
    for name, values in resident.items():
        np.testing.assert_array_equal(streamed[name], values, err_msg=name)


def test_a_model_that_does_not_fit_is_judged_layer_by_layer(healthy: Bundle, checkpoint: Checkpoint) -> None:
    resident, streamed = (make_lab(healthy, checkpoint, max_memory=limit) for limit in (None, TOO_LITTLE))
    checks = p4_scheme.run(streamed)
    (logits,) = [check for check in checks if check.stage == "logits"]
    case = resident.text_case
    full, quantized = (scheme.capture(model, case) for model in (resident.full, resident.quantized))
    assert logits == scheme.compare_case(resident, case, full, quantized)[-1]
    assert {check.layer for check in checks if check.stage == "decoder"} == {0, 1, 2, 3}
    assert "layer by layer" in streamed.notes[0]


def test_structure_of_a_graph_that_is_too_large_to_load(healthy: Bundle, checkpoint: Checkpoint) -> None:
    report = ladder.run(healthy, checkpoint, rungs=("P0",), max_memory=TOO_LITTLE)
    assert report.verdict == "passed"
    assert "read, not loaded" in report.rungs[0].notes[0]
    inputs, outputs = runner_of("onnx").interface(healthy.graph("onnx", "decoder"), "decoder")
    info = healthy.manifest.graphs["onnx"]["decoder"]
    assert (tuple(inputs.values()), tuple(outputs.values())) == (info.inputs, info.outputs)


def test_goldens_of_a_model_that_does_not_fit(
    healthy: Bundle, checkpoint: Checkpoint, copy_of: Callable[[Bundle], Bundle]
) -> None:
    """The text alone, recorded layer by layer, and it replays."""
    bundle = copy_of(healthy)
    write_goldens(make_lab(bundle, checkpoint, max_memory=TOO_LITTLE), bundle.root / "parity")
    report = replay(bundle.with_parity({"verdict": "not run"}))
    assert report.verdict == "passed"
    assert {check.case for check in report.rungs[0].checks} == {"text"}


def test_certified_bundle_has_all_files(certified: Bundle) -> None:
    files = {name for name in certified.manifest.files if name.startswith("parity/")}
    assert files == {f"parity/{name}" for name in ("report.json", "report.md", "report.html", "goldens.safetensors")}
    assert certified.manifest.parity is not None
    assert certified.manifest.parity["verdict"] == "passed"
    assert set(certified.manifest.parity["rungs"]) == set(ladder.RUNGS)


def test_progress_goes_up(healthy: Bundle, checkpoint: Checkpoint, copy_of: Callable[[Bundle], Bundle]) -> None:
    seen: list[tuple[str, float]] = []
    certify(
        copy_of(healthy), checkpoint, max_memory=TOO_LITTLE, progress=lambda step, share: seen.append((step, share))
    )
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert seen[-1] == ("parity goldens", 1.0)
