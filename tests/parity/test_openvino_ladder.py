"""The ladder on OpenVINO bundles: what is sound passes, with nothing rounded as near to PyTorch as floats can be."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import mutations
import numpy as np
import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.engines.openvino.probe import variants
from nexus_edge.engines.probes import runner_of
from nexus_edge.parity import ladder, per_target
from nexus_edge.parity.goldens import write_goldens
from nexus_edge.parity.ladder import prepare
from nexus_edge.parity.report.report import Check, NotRunError, Report
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.rungs import p2_graph
from nexus_edge.parity.vlm.run import ask, vlm_run
from nexus_edge.recipe import find_recipe

pytestmark = pytest.mark.slow

CopyOf = Callable[[Bundle], Bundle]
EXACT, F32, BF16 = (variants.in_words(way) for way in (variants.EXACT, variants.F32, variants.BF16))
SHIPPED = variants.in_words(variants.shipped_here())
FLOAT_NOISE = 1e-5  # 6e-8 of each number, in sums of some hundred of them through four layers: 3e-6, and some room
TOO_LITTLE = 1000  # bytes
NOT_INSTALLED = ("torch", "onnx", "onnx_ir", "onnxscript", "safetensors", "ml_dtypes", "matplotlib")


def only_openvino(bundle: Bundle) -> Bundle:
    manifest = bundle.manifest
    graphs = {"openvino": manifest.graphs["openvino"]}
    return replace(bundle, manifest=replace(manifest, targets=("openvino",), graphs=graphs))


def run_with(bundle: Bundle, checkpoint: Checkpoint, *cases: str) -> ParityRun:
    """With some of the cases."""
    run = prepare(bundle, checkpoint)
    ask(run, [case for case in vlm_run(run).cases if case.name in cases])
    return run


@pytest.fixture(scope="module")
def vlm_report(tiny_openvino: Bundle, checkpoint: Checkpoint) -> Report:
    run = run_with(only_openvino(tiny_openvino), checkpoint, "one image", "text")
    return ladder.run(run, ("P0", "P3", "P5"))


@pytest.fixture(scope="module")
def dual(biomedclip_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Both towers of the embedded checkpoint in float32, without parity; read-only."""
    from nexus_edge.pipeline.export import export

    root = tmp_path_factory.mktemp("openvino") / "fp32"
    recipe = find_recipe("biomedclip", "fp32").with_targets(("openvino",))
    export(biomedclip_checkpoint, recipe, root, parity=False)
    return Bundle.open(root)


def worst(report: Report, rung: str, metric: str, **wanted: str) -> float:
    """The largest value of a metric on a rung, of checks whose fields are as wanted."""
    checks = next(found.checks for found in report.rungs if found.name == rung)
    values = [
        check.measures[metric]
        for check in checks
        if metric in check.measures and all(getattr(check, name) == value for name, value in wanted.items())
    ]
    assert values, (rung, metric, wanted)
    return max(values)


def test_a_sound_bundle_passes(vlm_report: Report) -> None:
    assert {rung.status for rung in vlm_report.rungs} <= {"passed", "ambiguous"}
    graphs = {check.stage for check in vlm_report.rungs[0].checks if check.target}
    assert graphs == {
        *("vision_embeddings", "vision_projection", "text_embeddings", "language_model"),
        *("storage", "companions"),
    }
    places = {(check.stage, check.layer) for check in vlm_report.rungs[1].checks}
    for stage in ("vision_encoder", "decoder"):
        assert {(name, layer) for name in (stage, f"{stage}, carried") for layer in range(4)} <= places
    assert ("embed_tokens", None) in places


def test_nothing_is_left_but_float_noise_where_nothing_is_rounded(vlm_report: Report) -> None:
    """In four bits as in full precision: each layer alone, all of them, and the runtime from image to logits."""
    assert worst(vlm_report, "P3", "relative_l2", precision=EXACT) < FLOAT_NOISE
    for stage in ("image features", "logits"):
        assert worst(vlm_report, "P5", "relative_l2", precision=EXACT, stage=stage) < FLOAT_NOISE
    assert worst(vlm_report, "P3", "relative_l2", precision=SHIPPED) > 100 * FLOAT_NOISE  # what is shipped does round


def test_every_figure_says_in_which_precision(vlm_report: Report) -> None:
    p3, p5 = (rung.checks for rung in vlm_report.rungs[1:])
    assert {check.precision for check in p3} == {EXACT, SHIPPED}
    of_inputs = {check.stage for check in p5 if not check.precision}
    assert of_inputs == {"crops", "tokens"}
    assert {check.precision for check in p5} == {"", EXACT, F32, SHIPPED}
    assert all(check.precision in check.finding for check in p5)
    gates = {check.precision: check.gate.limit for check in p5 if check.stage == "logits" and check.gate}
    assert gates[EXACT] < 0.01 * gates[SHIPPED]


def test_full_precision_is_the_reference(dual: Bundle, biomedclip_checkpoint: Checkpoint) -> None:
    checks = p2_of(dual, biomedclip_checkpoint)
    assert {check.status for check in checks} == {"passed"} and {check.precision for check in checks} == {EXACT}
    assert max(check.measures["relative_l2"] for check in checks) < FLOAT_NOISE
    for stage, layers in (("image_encoder", 6), ("text_encoder", 3)):
        assert {check.layer for check in checks if check.stage == stage} == {*range(layers), None}


def test_a_transposed_weight_of_a_tower(dual: Bundle, biomedclip_checkpoint: Checkpoint, copy_of: CopyOf) -> None:
    bundle = copy_of(dual)
    weights = bundle.root / "openvino" / "image_encoder.bin"
    mutations.edit_tensor(weights, "visual.trunk.blocks.2.attn.proj.weight", np.transpose)
    failed = {
        (check.stage, check.layer)
        for check in p2_of(bundle, biomedclip_checkpoint)
        if check.status == "failed" and "carried" not in check.stage
    }
    assert failed == {("image_encoder", 2)}


def p2_of(bundle: Bundle, checkpoint: Checkpoint) -> list[Check]:
    """Of a bundle in float32, which is what P2 exports."""
    files: p2_graph.Files = {name: bundle.graph("openvino", name) for name in bundle.manifest.graphs["openvino"]}
    return p2_graph.compare(prepare(bundle, checkpoint), "openvino", files)


def test_towers_end_to_end(dual: Bundle, biomedclip_checkpoint: Checkpoint) -> None:
    report = ladder.run(prepare(dual, biomedclip_checkpoint), ("P0", "P5"))
    assert report.verdict == "passed"
    assert worst(report, "P5", "relative_l2", precision=EXACT, stage="text embeddings") < FLOAT_NOISE


def test_goldens_replay_without_torch(tiny_openvino: Bundle, checkpoint: Checkpoint, copy_of: CopyOf) -> None:
    bundle = copy_of(tiny_openvino)
    write_goldens(run_with(bundle, checkpoint, "text"), bundle.root / "parity")
    mutations.rehash(bundle.with_parity({"verdict": "passed"}))
    script = f"""
import sys
for name in {NOT_INSTALLED}:
    sys.modules[name] = None
from nexus_edge.bundle import Bundle
from nexus_edge.parity.replay import replay
report = replay(Bundle.open({str(bundle.root)!r}))
assert report.verdict == "passed", report.summary
assert {{check.precision for check in report.rungs[0].checks if check.target == "openvino"}} == {{{SHIPPED!r}}}
sys.modules["openvino"] = None
for name in [name for name in sys.modules if name.startswith("nexus_edge.engines.openvino.probe.runner")]:
    del sys.modules[name]
report = replay(Bundle.open({str(bundle.root)!r}))
assert "nexus-edge[openvino]" in report.rungs[0].notes[0], report
assert report.verdict == "incomplete", report  # a target that was not replayed is not green
assert replay(Bundle.open({str(bundle.root)!r}), ("onnx",)).verdict == "passed"
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_does_not_fit_is_read_and_not_run(tiny_openvino: Bundle, checkpoint: Checkpoint) -> None:
    run = prepare(only_openvino(tiny_openvino), checkpoint, max_memory=TOO_LITTLE)
    report = ladder.run(run, ("P0", "P2", "P3", "P5"))
    assert [rung.status for rung in report.rungs] == ["passed", "not run", "not run", "not run"]
    assert "read, not loaded" in report.rungs[0].notes[0]


def test_a_cpu_without_bf16_passes_as_it_ships(
    tiny_openvino: Bundle, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs and cache in 8 bits, nothing in bfloat16: what a CPU with VNNI alone is judged by, and no other."""
    monkeypatch.setattr("nexus_edge.engines.openvino.probe.runner.shipped_here", lambda: variants.F32)
    run = run_with(only_openvino(tiny_openvino), checkpoint, "one image", "text beyond the LongRoPE limit")
    report = ladder.run(run, ("P3",))
    assert report.rungs[0].status == "passed"
    assert [check.finding for check in report.rungs[0].checks if check.status == "failed"] == []
    assert worst(report, "P3", "relative_l2", precision=F32, stage="decoder") > 100 * FLOAT_NOISE


def test_openvino_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("nexus_edge.engines.openvino.probe.runner")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(NotRunError, match=r"nexus-edge\[openvino\]"):
        runner_of("openvino")


def test_a_cpu_without_bf16_leaves_a_note(
    tiny_openvino: Bundle, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(per_target, "computes_here", lambda options: options.openvino.precision != "bf16")
    run = prepare(only_openvino(tiny_openvino), checkpoint)
    checks = per_target.compare_runtimes(
        run, "openvino", "P5", lambda options, judge: [Check("logits", "logits", "case")]
    )
    assert [check.precision for check in checks] == [EXACT, F32]
    assert run.notes == [f"not run in {BF16}: this CPU computes no bf16"]
