"""A rung is green only for graphs that were compared, and a run keeps what came of the cases that it has now."""

import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.parity import ladder
from nexus_edge.parity.report.report import Rung
from nexus_edge.parity.vlm import run as run_module
from nexus_edge.parity.vlm.run import ask, vlm_run


def test_a_graph_that_no_case_reaches_is_not_green(healthy: Bundle, checkpoint: Checkpoint) -> None:
    run = ladder.prepare(healthy, checkpoint)
    every = vlm_run(run).cases

    def exporter(*names: str) -> Rung:
        ask(run, [case for case in every if case.name in names])
        return ladder.run(run, ("P3",)).rungs[0]

    rung = exporter("text")
    assert rung.status == "not run"
    assert rung.reason == "no case reaches vision_encoder, so nothing of it was compared"
    # The same run: what came of the other cases is forgotten.
    rung = exporter("one image", "text")
    assert rung.status == "passed"
    assert {check.stage for check in rung.checks} >= {"vision_encoder", "embed_tokens", "decoder"}


def test_a_large_model_is_not_asked_about_several_images(
    healthy: Bundle, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report says which case was left out, on each rung that would have asked it."""
    every = {case.name for case in vlm_run(ladder.prepare(healthy, checkpoint)).cases}
    monkeypatch.setattr(run_module, "LARGE", 1000)
    run = ladder.prepare(healthy, checkpoint)
    assert every - {case.name for case in vlm_run(run).cases} == {"two images"}
    rung = ladder.run(run, ("P3",)).rungs[0]
    assert rung.status == "passed"
    assert rung.notes == ("two images: left out, 1e-06e9 parameters and more",)
