"""What the ladder says where it cannot run, and where it goes another way."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.engines.probes import runner_of
from nexus_edge.errors import InputError
from nexus_edge.parity import ladder
from nexus_edge.parity.certify import certify
from nexus_edge.parity.goldens import read_goldens, write_goldens
from nexus_edge.parity.ladder import prepare
from nexus_edge.parity.replay import replay
from nexus_edge.parity.rungs import p3_exporter, p4_scheme
from nexus_edge.parity.vlm import scheme
from nexus_edge.parity.vlm.references import StreamedReferences
from nexus_edge.parity.vlm.run import vlm_run

pytestmark = pytest.mark.slow

TOO_LITTLE = 1000  # bytes


def test_what_does_not_fit_is_not_run_and_never_passed(healthy: Bundle, checkpoint: Checkpoint) -> None:
    report = ladder.run(prepare(healthy, checkpoint, max_memory=TOO_LITTLE), ("P2", "P3", "P5"))
    assert {rung.status for rung in report.rungs} == {"not run"}
    assert all("--max-memory" in str(rung.reason) for rung in report.rungs)
    assert report.verdict == "not run"


def test_a_checkpoint_that_is_gone(healthy: Bundle, checkpoint: Checkpoint) -> None:
    """What compares the bundle with itself still runs."""
    run = replace(prepare(healthy, checkpoint), checkpoint="no checkpoint: it is gone")
    report = ladder.run(run, ("P0", "P2", "P4", "P5"))
    assert [rung.status for rung in report.rungs[:3]] == ["passed", "not run", "not run"]
    assert report.rungs[3].status in ("passed", "ambiguous")
    assert report.rungs[1].reason == "no checkpoint: it is gone"
    assert report.verdict == "incomplete"
    assert report.missing == (
        "P0 was not run in part: processor files were not held against the checkpoint's: no checkpoint: it is gone",
        *(f"{name} was not run: no checkpoint: it is gone" for name in ("P2", "P4")),
    )
    assert ladder.run(run, ("P0", "P4"), skippable=("P4",)).verdict == "incomplete"
    assert ladder.run(run, ("P0", "P4"), skippable=("P0", "P4")).verdict == "passed"
    with pytest.raises(InputError, match="no rung P9"):
        ladder.run(run, ("P0",), skippable=("P9",))


def test_a_rejected_bundle_is_cleared_by_the_whole_ladder_only(healthy: Bundle, checkpoint: Checkpoint) -> None:
    """Half a ladder that holds is no reason to forget what the whole one found."""
    manifest = replace(healthy.manifest, parity={"verdict": "rejected", "reason": "P4: logits"})
    run = prepare(replace(healthy, manifest=manifest), checkpoint)
    report = ladder.run(run, ("P0",))
    assert [rung.status for rung in report.rungs] == ["passed"]
    assert report.verdict == "rejected"
    assert report.standing == "P4: logits"


def test_unknown_rungs_and_goldens(healthy: Bundle, checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rung P7"):
        ladder.run(prepare(healthy, checkpoint), ("P7",))
    with pytest.raises(InputError, match="no such folder"):
        ladder.run(prepare(healthy, checkpoint, goldens=tmp_path / "nowhere"), ("P1",))


def test_one_layer_at_a_time_is_enough(
    healthy: Bundle, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what graphs and schemes are compared with; the held-out questions alone want both models as a whole."""
    needed = vlm_run(prepare(healthy, checkpoint)).references.bytes_needed
    run = prepare(healthy, checkpoint, max_memory=2 * needed)
    monkeypatch.setattr(scheme, "read_questions", lambda *_: [])
    checks = p4_scheme.judge(run) + p3_exporter.judge(run)
    assert not run.references.loaded, "a model was loaded as a whole"
    assert {check.layer for check in checks if check.stage == "decoder"} == {0, 1, 2, 3, None}


def test_structure_of_a_graph_that_is_too_large_to_load(healthy: Bundle, checkpoint: Checkpoint) -> None:
    report = ladder.run(prepare(healthy, checkpoint, max_memory=TOO_LITTLE), ("P0",))
    assert report.verdict == "passed"
    assert "read, not loaded" in report.rungs[0].notes[0]
    inputs, outputs = runner_of("onnx").interface(healthy.graph("onnx", "decoder"), "decoder")
    info = healthy.manifest.graphs["onnx"]["decoder"]
    assert (tuple(inputs.values()), tuple(outputs.values())) == (info.inputs, info.outputs)


def test_goldens_where_the_runtime_does_not_fit(
    healthy: Bundle, checkpoint: Checkpoint, copy_of: Callable[[Bundle], Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All cases, with one greedy token each, and they replay."""
    bundle = copy_of(healthy)
    run = prepare(bundle, checkpoint, max_memory=TOO_LITTLE)
    monkeypatch.setattr(StreamedReferences, "bytes_needed", 0)
    write_goldens(run, bundle.root / "parity")
    bundle = bundle.with_parity({"verdict": "not run"})
    assert {len(golden.values["greedy_ids"]) for golden in read_goldens(bundle)} == {1}
    assert replay(bundle).verdict == "passed"


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
