"""Each fault in a saved OpenVINO graph turns the right rung red, in its layer and in no other."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ir_mutations
import mutations
import numpy as np
import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.parity.graphs import GraphJudges, compare_graphs
from nexus_edge.parity.ladder import prepare
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.rungs import p0_structure, p4_scheme
from nexus_edge.parity.vlm.run import ask, vlm_run

pytestmark = pytest.mark.slow

CopyOf = Callable[[Bundle], Bundle]
DECODER = ("language_model",)
VISION = ("vision_embeddings", "vision_projection")
KEYS = "past_key_values.2.key"
NEXT_TOKEN = "text, next token"


@pytest.fixture(scope="module")
def run(tiny_openvino: Bundle, checkpoint: Checkpoint) -> ParityRun:
    """PyTorch has the weights of the other target, so that a fault in OpenVINO's is none of the reference."""
    manifest = replace(tiny_openvino.manifest, targets=("onnx", "openvino"))
    return prepare(replace(tiny_openvino, manifest=manifest), checkpoint)


def found(run: ParityRun, bundle: Bundle, *graphs: str, case: int = -2) -> list[Check]:
    """P3 of some graphs with one case; the last but one of the ladder's is the short text, the first has an image."""
    run = replace(run)  # one of its own for each case: what PyTorch made of the cases that it had first, a run keeps
    ask(run, [vlm_run(run).cases[case]])
    files = {graph: bundle.graph("openvino", graph) for graph in graphs}
    return compare_graphs(
        run, "dequantized", "openvino", files, GraphJudges(run.judges, "P3", "openvino", unrounded=True)
    )


def failures(checks: list[Check]) -> dict[str, set[str]]:
    """Each place where a layer on the reference's values fails -> the cases that see it."""
    places: dict[str, set[str]] = {}
    for check in checks:
        if check.status == "failed" and "carried" not in check.stage:
            places.setdefault(check.place, set()).add(check.case)
    return places


def damaged(bundle: Bundle, graph: str, mutation: ir_mutations.Mutation) -> Bundle:
    ir_mutations.edit_ir(bundle.graph("openvino", graph), mutation)
    return bundle


def test_nothing_is_red_without_a_fault(run: ParityRun, tiny_openvino: Bundle) -> None:
    checks = found(run, tiny_openvino, *DECODER)
    assert {check.status for check in checks} == {"passed"}
    assert {check.case for check in checks} == {"text", NEXT_TOKEN}
    assert {check.layer for check in checks} == {0, 1, 2, 3, None}


def test_the_scale_of_one_group_has_the_wrong_sign(
    run: ParityRun, tiny_openvino: Bundle, copy_of: CopyOf, checkpoint: Checkpoint
) -> None:
    def flip(scales: np.ndarray) -> np.ndarray:
        scales[3, 0] *= -1
        return scales

    name, bundle = "model.layers.2.self_attn.o_proj.scales", copy_of(tiny_openvino)
    mutations.edit_tensor(bundle.root / "openvino" / "openvino_language_model.bin", name, flip)
    assert failures(found(run, bundle, *DECODER)) == {"decoder, layer 2, output": {"text", NEXT_TOKEN}}
    # At any size, without a model in memory: the targets do not hold the same numbers.
    checks = p4_scheme.check_other_targets(prepare(bundle, checkpoint))
    assert failures(checks) == {f"decoder numbers, layer 2, {name}": {"stored"}}


def test_a_transposed_weight(run: ParityRun, tiny_openvino: Bundle, copy_of: CopyOf) -> None:
    layer = "model.vision_embed_tokens.img_processor.vision_model.encoder.layers.1"
    bundle = copy_of(tiny_openvino)
    weights = bundle.root / "openvino" / "openvino_vision_embeddings_model.bin"
    mutations.edit_tensor(weights, f"{layer}.self_attn.out_proj.qweight", np.transpose)
    assert list(failures(found(run, bundle, *VISION, case=0))) == ["vision_encoder, layer 1, output"]


def test_two_layers_read_each_others_weights(run: ParityRun, tiny_openvino: Bundle, copy_of: CopyOf) -> None:
    swap = ir_mutations.swap_constants(*(f"model.layers.{layer}.mlp.down_proj.qweight" for layer in (1, 3)))
    places = failures(found(run, damaged(copy_of(tiny_openvino), "language_model", swap), *DECODER))
    # The logits stand on the reference's last layer, which is not wrong.
    assert set(places) == {"decoder, layer 1, output", "decoder, layer 3, output"}


@pytest.mark.parametrize(
    ("fault", "places", "cases"),
    [
        (
            ir_mutations.put_new_tokens_first,
            {"decoder, layer 2, present.2.key", "decoder, layer 2, output"},
            {NEXT_TOKEN},  # without a past there is nothing to be first
        ),
        (ir_mutations.keep_old_state, {"decoder, layer 2, present.2.key"}, {"text", NEXT_TOKEN}),
        (ir_mutations.ignore_beams, {"decoder, layer 2, present.2.key", "decoder, layer 2, output"}, {NEXT_TOKEN}),
    ],
)
def test_a_broken_state(
    run: ParityRun,
    tiny_openvino: Bundle,
    copy_of: CopyOf,
    fault: Callable[[str], ir_mutations.Mutation],
    places: set[str],
    cases: set[str],
) -> None:
    red = failures(found(run, damaged(copy_of(tiny_openvino), "language_model", fault(KEYS)), *DECODER))
    assert set(red) == places
    assert red["decoder, layer 2, present.2.key"] == cases


def test_separators_that_are_not_the_models(run: ParityRun, tiny_openvino: Bundle, copy_of: CopyOf) -> None:
    """They are no part of a graph: config.json holds them."""
    bundle = copy_of(tiny_openvino)
    path = bundle.root / "openvino" / "config.json"
    text = path.read_text("utf-8")
    path.write_text(text.replace('"sub_GN"', '"glb_GN_"').replace('"glb_GN"', '"sub_GN"').replace("_GN_", "_GN"))
    assert list(failures(found(run, bundle, *VISION, case=0))) == ["vision_encoder, image_features"]


def test_an_interface_that_is_not_the_manifests(
    run: ParityRun, tiny_openvino: Bundle, copy_of: CopyOf, checkpoint: Checkpoint
) -> None:
    def wider(path: Path) -> None:
        text = path.read_text("utf-8")
        changed = text.replace('<data shape="?,?" element_type="i64" />', '<data shape="?,?" element_type="i32" />', 1)
        assert changed != text
        path.write_text(changed, "utf-8")

    bundle = copy_of(tiny_openvino)
    wider(bundle.graph("openvino", "text_embeddings"))
    (bundle.root / "openvino" / "openvino_vision_projection_model.xml").write_text("<net/>", "utf-8")
    checks = p0_structure.judge(prepare(mutations.rehash(bundle), checkpoint))
    failed = {check.stage: str(check.problem) for check in checks if check.status == "failed"}
    assert set(failed) == {"text_embeddings", "vision_projection"}
    assert "input input is int32" in failed["text_embeddings"]
