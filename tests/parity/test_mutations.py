"""The heart of the matter: each fault turns the right rung red, and the report names where it is."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import golden_phi3
import mutations
import numpy as np
import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.errors import CheckpointError
from nexus_edge.layers.clip_vision import ClipEncoder
from nexus_edge.models.phi3_v import processing as processing_phi3_v
from nexus_edge.models.phi3_v.params import Phi3VisionParams
from nexus_edge.parity import ladder
from nexus_edge.parity.ladder import prepare
from nexus_edge.parity.report.report import Check, Report
from nexus_edge.parity.rungs import p1_original, p2_graph
from nexus_edge.parity.vlm.run import ask, vlm_run
from nexus_edge.runtimes.vlm.context import Context

pytestmark = pytest.mark.slow

CopyOf = Callable[[Bundle], Bundle]
WEIGHTS = "onnx/decoder.safetensors"


@pytest.fixture
def judge(checkpoint: Checkpoint) -> Callable[..., Report]:
    """Run some rungs of a bundle, with few of the held-out questions."""

    def judge(bundle: Bundle, *rungs: str) -> Report:
        run = prepare(bundle, checkpoint)
        run.held_out_images = 1
        return ladder.run(run, rungs)

    return judge


@pytest.fixture
def factor(checkpoint: Checkpoint) -> float:
    """LongRoPE's constant for the embedded checkpoint; 1.19 for the published one."""
    return Phi3VisionParams.from_json(checkpoint.config).rope.magnitudes[0]


def red(report: Report) -> dict[str, str]:
    """Each failed rung with the place of its first failure."""
    return {rung.name: rung.first_failure.place for rung in report.rungs if rung.first_failure is not None}


def failed_places(checks: list[Check] | tuple[Check, ...]) -> set[str]:
    return {check.place for check in checks if check.status == "failed"}


def failed_stages(report: Report) -> set[str]:
    return {check.stage for rung in report.rungs for check in rung.checks if check.status == "failed"}


def test_nothing_is_red_without_a_fault(healthy: Bundle, judge: Callable[..., Report]) -> None:
    report = judge(healthy, "P0", "P3", "P4", "P5")
    assert red(report) == {}
    assert report.verdict == "passed"


def test_one_changed_code_in_the_weights_file(healthy: Bundle, copy_of: CopyOf, judge: Callable[..., Report]) -> None:
    def flip(codes: np.ndarray) -> np.ndarray:
        codes[5, -1, 3] ^= 0x80  # the high nibble moves by 8 of 15 steps
        return codes

    name = "model.layers.2.self_attn.qkv_proj"
    bundle = copy_of(healthy)
    mutations.edit_tensor(bundle.root / WEIGHTS, f"{name}.qweight", flip)
    assert red(judge(bundle, "P0")) == {"P0": f"files, {len(bundle.manifest.files)} files"}
    # With a manifest that vouches for the changed file only the comparison with the checkpoint can tell: both sides of
    # P3 read the same weight.
    assert red(judge(mutations.rehash(bundle), "P0", "P3", "P4")) == {"P4": f"decoder weights, layer 2, {name}.weight"}


def test_one_changed_norm_weight(healthy: Bundle, copy_of: CopyOf, judge: Callable[..., Report]) -> None:
    name = "model.layers.1.post_attention_layernorm.weight"
    bundle = copy_of(healthy)
    mutations.edit_tensor(bundle.root / WEIGHTS, name, lambda norm: norm * np.float32(1.0001))
    assert red(judge(mutations.rehash(bundle), "P4")) == {"P4": f"decoder weights, layer 1, {name}"}


def test_gate_and_up_swapped_in_the_weights(healthy: Bundle, copy_of: CopyOf, judge: Callable[..., Report]) -> None:
    name = "model.layers.3.mlp.gate_up_proj"
    bundle = copy_of(healthy)
    for suffix in ("qweight", "scales"):
        mutations.edit_tensor(bundle.root / WEIGHTS, f"{name}.{suffix}", mutations.swap_halves)
    assert red(judge(mutations.rehash(bundle), "P0", "P3", "P4")) == {"P4": f"decoder weights, layer 3, {name}.weight"}


def test_gate_and_up_swapped_in_the_graph(healthy: Bundle, copy_of: CopyOf, judge: Callable[..., Report]) -> None:
    bundle = copy_of(healthy)
    mutations.edit_graph(bundle.graph("onnx", "decoder"), mutations.swap_gate_and_up(layer=1))
    report = judge(mutations.rehash(bundle), "P0", "P3", "P4")
    assert red(report) == {"P3": "decoder, layer 1, output"}
    assert failed_places(report.rungs[1].checks) == {"decoder, layer 1, output"}, "only this layer is wrong"


def test_longrope_factor_dropped(healthy: Bundle, copy_of: CopyOf, judge: Callable[..., Report], factor: float) -> None:
    bundle = copy_of(healthy)
    mutations.edit_graph(bundle.graph("onnx", "decoder"), mutations.drop_longrope_factor(factor))
    assert red(judge(mutations.rehash(bundle), "P0", "P3", "P5")) == {
        "P3": "decoder, layer 0, present.0.key",
        "P5": "logits",
    }


def test_long_list_used_too_early(
    healthy: Bundle, checkpoint: Checkpoint, copy_of: CopyOf, judge: Callable[..., Report]
) -> None:
    """The switch counts from another limit: only the long text is right."""
    bundle = copy_of(healthy)
    limit = checkpoint.config["original_max_position_embeddings"]
    mutations.edit_graph(bundle.graph("onnx", "decoder"), mutations.change_constant(limit, 1))
    report = judge(mutations.rehash(bundle), "P3")
    failed = {check.case for check in report.rungs[0].checks if check.status == "failed"}
    assert red(report) == {"P3": "decoder, layer 0, present.0.key"}
    assert not any(case.startswith("text beyond") for case in failed)


def test_crops_shifted_in_the_graph(healthy: Bundle, copy_of: CopyOf, judge: Callable[..., Report]) -> None:
    bundle = copy_of(healthy)
    mutations.edit_graph(bundle.graph("onnx", "vision_encoder"), mutations.shift_crops)
    report = judge(mutations.rehash(bundle), "P0", "P3")
    assert red(report) == {"P3": "vision_encoder, layer 0, output"}


def test_crops_shifted_in_the_processing(
    healthy: Bundle, judge: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = processing_phi3_v._fill_views

    def shifted(views: np.ndarray, padded: np.ndarray, geometry: object, table: np.ndarray) -> None:
        right(views, padded, geometry, table)
        views[1:] = np.roll(views[1:], 1, axis=0)

    monkeypatch.setattr(processing_phi3_v, "_fill_views", shifted)
    assert red(judge(healthy, "P3", "P5")) == {"P5": "crops, pixel_values"}


def test_wrong_layer_of_the_tower(healthy: Bundle, copy_of: CopyOf, judge: Callable[..., Report]) -> None:
    bundle = copy_of(healthy)
    mutations.edit_graph(bundle.graph("onnx", "vision_encoder"), mutations.take_earlier_tower_layer)
    report = judge(mutations.rehash(bundle), "P0", "P3")
    assert red(report) == {"P3": "vision_encoder, image_features"}
    assert failed_places(report.rungs[1].checks) == {"vision_encoder, image_features"}, "every layer itself is right"


def test_other_tokenizer_in_the_bundle(healthy: Bundle, copy_of: CopyOf, judge: Callable[..., Report]) -> None:
    bundle = copy_of(healthy)
    path = bundle.root / "processor" / "tokenizer.json"
    text = path.read_text("utf-8")
    swapped = text.replace('"e":', '"\0":').replace('"t":', '"e":').replace('"\0":', '"t":')
    assert swapped != text
    path.write_text(swapped, "utf-8")
    assert red(judge(mutations.rehash(bundle), "P5")) == {"P5": "tokens, input_ids"}


def test_other_mean_in_the_bundle(healthy: Bundle, copy_of: CopyOf, judge: Callable[..., Report]) -> None:
    """Both sides of P5 took it from the bundle, and so it was right."""
    bundle = copy_of(healthy)
    path = bundle.root / "processor" / "preprocessor_config.json"
    settings = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(settings | {"image_mean": [0.5, 0.5, 0.5]}), "utf-8")
    assert red(judge(mutations.rehash(bundle), "P5"))["P5"] == "crops, pixel_values"


def test_another_prompts_cache_is_reused(
    healthy: Bundle, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each case had a cache of its own, and so the reuse between prompts was never judged."""

    def judge() -> Report:
        run = prepare(healthy, checkpoint)  # anew, because a run asks the runtime only once
        ask(run, [case for case in vlm_run(run).cases if case.name == "text"])
        return ladder.run(run, ("P5",))

    assert "logits" not in failed_stages(judge())
    monkeypatch.setattr(
        Context, "reusable", lambda self, tokens: 0 if self._cached is None else min(self._cached.length, len(tokens))
    )
    assert "logits" in failed_stages(judge())


def test_graph_that_is_not_the_manifests(healthy: Bundle, copy_of: CopyOf, judge: Callable[..., Report]) -> None:
    bundle = copy_of(healthy)
    shutil.copyfile(bundle.graph("onnx", "embed_tokens"), bundle.graph("onnx", "decoder"))
    report = judge(mutations.rehash(bundle), "P0", "P3", "P5")
    assert list(red(report)) == ["P0"]
    assert red(report)["P0"].startswith("decoder, ")
    assert {rung.name: rung.reason for rung in report.rungs[1:]} == dict.fromkeys(("P3", "P5"), "P0 failed for decoder")
    assert report.verdict == "rejected"


def test_exporter_fault_in_full_precision(
    healthy: Bundle, checkpoint: Checkpoint, full_precision_files: dict[str, p2_graph.Files], tmp_path: Path
) -> None:
    run = prepare(healthy, checkpoint)
    assert failed_places(p2_graph.compare(run, "onnx", full_precision_files["onnx"])) == set()
    folder = shutil.copytree(full_precision_files["onnx"]["decoder"].parent, tmp_path / "onnx")
    mutations.edit_graph(folder / "decoder.onnx", mutations.swap_gate_and_up(layer=2))
    damaged = {**full_precision_files["onnx"], "decoder": folder / "decoder.onnx"}
    assert failed_places(p2_graph.compare(run, "onnx", damaged)) == {"decoder, layer 2, output"}


@pytest.fixture
def goldens(tmp_path: Path) -> Path:
    """The goldens of the original, with files that a test may damage."""
    return shutil.copytree(golden_phi3.FOLDER, tmp_path / "goldens")


def test_reference_with_gate_and_up_swapped(healthy: Bundle, checkpoint: Checkpoint, goldens: Path) -> None:
    mutations.edit_tensor(
        goldens / "model.safetensors", "model.layers.1.mlp.gate_up_proj.weight", mutations.swap_halves
    )
    report = ladder.run(prepare(healthy, checkpoint, goldens=goldens), ("P1",))
    assert red(report) == {"P1": "decoder, layer 1, output"}


def test_reference_that_reads_the_wrong_tower_layer(
    healthy: Bundle, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_layers(self: ClipEncoder, x: object) -> object:
        for layer in self.layers:
            x = layer(x)
        return x

    run = prepare(healthy, checkpoint)
    assert failed_places(p1_original.judge(run)) == set()
    monkeypatch.setattr(ClipEncoder, "forward", all_layers)
    first, *_ = [check for check in p1_original.judge(run) if check.status == "failed"]
    assert first.place == "vision_encoder, image_features"


def test_reference_without_the_longrope_factor(healthy: Bundle, checkpoint: Checkpoint, goldens: Path) -> None:
    """Without room to grow there is no factor: the goldens' configuration says otherwise."""
    path = goldens / "config.json"
    text = path.read_text("utf-8")
    limit = golden_phi3.config()["original_max_position_embeddings"]
    path.write_text(text.replace('"max_position_embeddings": 32768', f'"max_position_embeddings": {limit}'), "utf-8")
    assert path.read_text("utf-8") != text
    assert red(ladder.run(prepare(healthy, checkpoint, goldens=goldens), ("P1",))) == {"P1": "decoder, layer 0, output"}


def test_the_checkpoint_is_another_one(healthy: Bundle, tmp_path: Path, checkpoint: Checkpoint) -> None:
    """A fine-tune exported, the base model as original: refused; where a bundle is too old to know, P4 sees it."""
    assert checkpoint.folder is not None
    other = shutil.copytree(checkpoint.folder, tmp_path / "other")
    mutations.edit_tensor(other / "model.safetensors", "model.embed_tokens.weight", lambda rows: rows[::-1])
    with pytest.raises(CheckpointError, match=r"other: is not the checkpoint that .* it has other weights;"):
        ladder.run(prepare(healthy, str(other)), ("P4",))
    older = replace(healthy.manifest, source=replace(healthy.manifest.source, content=None))
    report = ladder.run(prepare(replace(healthy, manifest=older), str(other)), ("P4",))
    assert red(report)["P4"] == "embed_tokens weights, model.embed_tokens.weight"
