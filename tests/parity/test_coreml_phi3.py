"""The ladder on Phi-3-Vision's saved packages: what is sound passes, and a fault in a file shows in its own layer.

A short text is enough for most faults, and goes through in a second; the embedded checkpoint's own cases are longer.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import coreml_mutations as mutations
import numpy as np
import pytest
from mutations import rehash

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.engines.coreml.probe.layers import outputs_by_number
from nexus_edge.engines.probes import runner_of
from nexus_edge.models.phi3_v.parity import QUESTION
from nexus_edge.parity import ladder
from nexus_edge.parity.goldens import write_goldens
from nexus_edge.parity.ladder import prepare
from nexus_edge.parity.precisions import runtime_options
from nexus_edge.parity.replay import replay
from nexus_edge.parity.report.report import CARRIED, Report
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.vlm.cases import Case, sample_image
from nexus_edge.parity.vlm.run import ask, vlm_run

pytestmark = pytest.mark.slow

CopyOf = Callable[[Bundle], Bundle]
CHUNKS = ("decoder_1_of_2", "decoder_2_of_2")  # layers 0 and 1, 2 and 3


def run_of(bundle: Bundle, checkpoint: Checkpoint, *names: str) -> ParityRun:
    """With these of its cases only."""
    run = prepare(bundle, checkpoint)
    ask(run, [case for case in vlm_run(run).cases if case.name in names])
    return run


def judge(bundle: Bundle, checkpoint: Checkpoint, *rungs: str, cases: Sequence[str] = ("text",)) -> Report:
    return ladder.run(run_of(bundle, checkpoint, *cases), rungs)


def failed(report: Report) -> dict[str, set[tuple[str, int | None]]]:
    """Rung -> stage and layer of what failed there, first of all where each layer is on its own."""
    return {
        rung.name: {
            (check.stage, check.layer)
            for check in rung.checks
            if check.status == "failed" and not check.stage.endswith(CARRIED)
        }
        for rung in report.rungs
    }


def test_a_sound_bundle_passes_and_shows_its_drift(coreml_vlm: Bundle, checkpoint: Checkpoint) -> None:
    run = run_of(coreml_vlm, checkpoint, "text")
    inputs = vlm_run(run).processor(QUESTION, [sample_image(80, 80)])
    ask(run, [Case("one crop", QUESTION, (sample_image(80, 80),), inputs, 1), *vlm_run(run).cases])
    structure, exporter, end = ladder.run(run, ("P0", "P3", "P5")).rungs
    assert structure.status == exporter.status == "passed" and end.status in ("passed", "ambiguous")
    assert set(coreml_vlm.manifest.graphs["coreml"]) <= {check.stage for check in structure.checks}
    seen = {(check.stage, check.layer) for check in exporter.checks}
    for stage in ("decoder", "vision_encoder", "vision_encoder.crops_4"):
        assert {(stage + how, layer) for layer in range(4) for how in ("", CARRIED)} <= seen
    gated = {check.stage for check in exporter.checks if check.gate is not None}
    assert {"embed_tokens", "decoder", "decoder" + CARRIED} <= gated
    # A prompt goes through `prefill`, the token behind it through `decode`: both are held against the same reference.
    assert {"text", "text, next token"} <= {check.case for check in exporter.checks if check.stage == "decoder"}


def test_one_blocks_scale_is_seen_in_its_layer(coreml_vlm: Bundle, checkpoint: Checkpoint, copy_of: CopyOf) -> None:
    def double_one(scales: np.ndarray) -> np.ndarray:
        scales[5, 0] *= 2
        return scales

    weight = "model.layers.2.mlp.down_proj.weight"
    bundle = mutations.overwrite(copy_of(coreml_vlm), CHUNKS[1], weight, "scale", double_one)
    assert failed(judge(bundle, checkpoint, "P0", "P3")) == {"P0": set(), "P3": {("decoder", 2)}}


def test_a_transposed_weight_is_seen_in_its_layer(coreml_vlm: Bundle, checkpoint: Checkpoint, copy_of: CopyOf) -> None:
    weight = "model.layers.1.self_attn.o_proj.weight"  # square, so that its transpose has its shape
    bundle = mutations.overwrite(copy_of(coreml_vlm), CHUNKS[0], weight, "data", np.transpose)
    assert failed(judge(bundle, checkpoint, "P0", "P3")) == {"P0": set(), "P3": {("decoder", 1)}}


def test_a_transposed_weight_of_the_tower(coreml_vlm: Bundle, checkpoint: Checkpoint, copy_of: CopyOf) -> None:
    weight = "model.vision_embed_tokens.img_processor.vision_model.encoder.layers.3.self_attn.out_proj.weight"
    bundle = mutations.overwrite(copy_of(coreml_vlm), "vision_encoder", weight, "data", np.transpose)
    run = run_of(bundle, checkpoint)
    inputs = vlm_run(run).processor(QUESTION, [sample_image(80, 80)])
    ask(run, [Case("one crop", QUESTION, (sample_image(80, 80),), inputs, 1)])
    assert failed(ladder.run(run, ("P3",))) == {"P3": {("vision_encoder", 3), ("vision_encoder.crops_4", 3)}}


def test_an_update_one_row_off_is_seen_when_it_is_used(
    coreml_vlm: Bundle, checkpoint: Checkpoint, copy_of: CopyOf
) -> None:
    bundle = mutations.edit_program(copy_of(coreml_vlm), CHUNKS[0], "decode", mutations.write_one_row_later)
    run = run_of(bundle, checkpoint, "text")
    report = ladder.run(run, ("P0", "P3", "P5"))
    assert failed(report)["P0"] == set()
    first = report.rungs[1].first_failure
    assert first is not None
    assert (first.stage, first.layer, first.tensor, first.case) == ("decoder", 0, "present.0.key", "text, next token")
    assert {layer for _, layer in failed(report)["P3"]} == {0, 1}, "the other chunk is as it was"
    # P5's logits are those of every token that both choose, and so of some that the wrong row was read for.
    assert {stage for stage, _ in failed(report)["P5"]} == {"logits", "greedy tokens"}
    options = next(iter(runtime_options("coreml").values()))
    both = run, run_of(coreml_vlm, checkpoint, "text")
    (wrong,), (right,) = (vlm_run(one).runtime.of("coreml", options) for one in both)
    same = [bool(np.array_equal(*rows)) for rows in zip(wrong.answer.logits, right.answer.logits, strict=False)]
    assert same[0] and not all(same), "the prompt's own logits are right"


def test_keys_written_to_the_neighbours_state(coreml_vlm: Bundle, checkpoint: Checkpoint, copy_of: CopyOf) -> None:
    bundle = mutations.edit_program(copy_of(coreml_vlm), CHUNKS[1], "prefill", mutations.write_to_the_neighbour)
    report = judge(bundle, checkpoint, "P0", "P3")
    assert failed(report)["P0"] == set()
    assert {layer for _, layer in failed(report)["P3"]} == {2, 3}
    assert {check.case for check in report.rungs[1].checks if check.status == "failed"} == {"text"}, "not in decode"


def test_chunks_with_each_others_weights(coreml_vlm: Bundle, checkpoint: Checkpoint, copy_of: CopyOf) -> None:
    bundle = mutations.swap_files(copy_of(coreml_vlm), *CHUNKS)
    report = judge(bundle, checkpoint, "P0", "P3")
    assert failed(report) == {"P0": set(), "P3": {("decoder", layer) for layer in range(4)}}
    first = report.rungs[1].first_failure
    assert first is not None and (first.layer, first.tensor) == (0, "present.0.key")


def test_a_chunk_in_the_place_of_another(coreml_vlm: Bundle, checkpoint: Checkpoint, copy_of: CopyOf) -> None:
    """Its states say which layers it holds, so this is found before anything runs."""
    bundle = copy_of(coreml_vlm)
    first, second = (mutations.package(bundle, name) / mutations.MODEL for name in CHUNKS)
    first.write_bytes(second.read_bytes())
    report = judge(rehash(bundle), checkpoint, "P0")
    (problem,) = {check.problem for check in report.rungs[0].checks if check.problem and check.stage == "packages"}
    assert "hold the layers [2, 3, 2, 3], not each once" in problem


def test_goldens_replay_in_the_packages(coreml_vlm: Bundle, checkpoint: Checkpoint, copy_of: CopyOf) -> None:
    bundle = copy_of(coreml_vlm)
    write_goldens(run_of(bundle, checkpoint, "text"), bundle.root / "parity")
    report = replay(bundle.with_parity({"verdict": "not run"}))
    assert report.verdict == "passed" and report.targets == ("coreml",)
    assert {"embed_tokens", "decoder", "greedy tokens"} <= {check.stage for check in report.rungs[0].checks}


def test_a_stage_needs_no_weights_file_to_run(coreml_vlm: Bundle, tmp_path: Path) -> None:
    """On a device there is none: layers are for those who look inside."""
    files = {name: coreml_vlm.graph("coreml", name) for name in coreml_vlm.manifest.graphs["coreml"]}
    (decoder,) = (part for part in runner_of("coreml").counterparts(files, None) if part.graph == "decoder")
    stage = decoder.open("hidden")
    past = {name: np.zeros((1, 4, 0, 32), np.float32) for name in stage.inputs if name.startswith("past")}
    given = {"inputs_embeds": np.ones((1, 3, 128), np.float32), "attention_mask": np.ones((1, 3), np.int64)}
    found = stage.run({**given, **past})
    assert found.keys() == stage.outputs.keys() and found["present.3.value"].shape == (1, 4, 3, 32)


def test_layers_have_the_models_names(coreml_vlm: Bundle) -> None:
    names = outputs_by_number(coreml_vlm.root / "coreml/decoder.safetensors")
    assert names == {number: f"model.layers.{number}.output" for number in range(4)}
