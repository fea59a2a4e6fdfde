"""Faults of dual encoders: each turns the right rung red, and the report names the stage and the layer."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import golden_biomedclip
import msgspec
import mutations
import numpy as np
import pytest
from torch import Tensor

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.engines.onnx.dual import OnnxDualEngine
from nexus_edge.errors import CheckpointError
from nexus_edge.layers.bert import BertAttention
from nexus_edge.layers.vit import VitBlock
from nexus_edge.parity import ladder
from nexus_edge.parity.ladder import prepare
from nexus_edge.parity.replay import replay
from nexus_edge.parity.report.report import Check, Report
from nexus_edge.parity.rungs import p1_original, p2_graph

pytestmark = pytest.mark.slow

CopyOf = Callable[[Bundle], Bundle]
Judge = Callable[..., Report]
BLOCKS, LAYERS = "visual.trunk.blocks", "text.transformer.encoder.layer"
IMAGE, TEXT = "image_encoder", "text_encoder"


@pytest.fixture
def judge(biomedclip_checkpoint: Checkpoint) -> Judge:
    """Run some rungs of a bundle, with few of the held-out images."""

    def judge(bundle: Bundle, *rungs: str) -> Report:
        run = prepare(bundle, biomedclip_checkpoint)
        run.held_out_images = 12
        return ladder.run(run, rungs)

    return judge


FACTS = "facts, of the processor's files"
"""P0's finding where a runtime that reads the manifest would not do what the processor does."""


def red(report: Report) -> dict[str, str]:
    """Each failed rung with the place of its first failure."""
    return {rung.name: rung.first_failure.place for rung in report.rungs if rung.first_failure is not None}


def failed_places(checks: list[Check] | tuple[Check, ...]) -> set[str]:
    return {check.place for check in checks if check.status == "failed"}


def mutated(bundle: Bundle, copy_of: CopyOf, graph: str, mutation: mutations.Mutation) -> Bundle:
    """A copy with a fault in one of its graphs, for which its manifest vouches."""
    copied = copy_of(bundle)
    mutations.edit_graph(copied.graph("onnx", graph), mutation)
    return with_hashes(copied)


def with_hashes(bundle: Bundle) -> Bundle:
    """As `mutations.rehash`, with the towers' own hashes, too."""
    from nexus_edge.bundle.hashing import hash_together

    rehashed = mutations.rehash(bundle)
    graphs, info = rehashed.manifest.graphs["onnx"], rehashed.manifest.dual_encoder
    assert info is not None
    towers = [hash_together(rehashed.file(file) for file in graphs[graph].files) for graph in (IMAGE, TEXT)]
    return with_manifest(rehashed, dual_encoder=replace(info, image_tower=towers[0], text_tower=towers[1]))


def with_manifest(bundle: Bundle, **changes: object) -> Bundle:
    text = replace(bundle.manifest, **changes).to_json()
    (bundle.root / "manifest.json").write_text(text, "utf-8")
    return Bundle.open(bundle.root)


def test_nothing_is_red_without_a_fault(healthy_dual: Bundle, judge: Judge) -> None:
    report = judge(healthy_dual, "P0", "P1", "P3", "P4", "P5")
    assert red(report) == {}
    assert report.verdict == "passed"


@pytest.mark.parametrize(("graph", "layers"), [(IMAGE, BLOCKS), (TEXT, LAYERS)])
def test_two_layers_swapped_in_the_graph(
    healthy_dual: Bundle, copy_of: CopyOf, judge: Judge, graph: str, layers: str
) -> None:
    report = judge(mutated(healthy_dual, copy_of, graph, mutations.swap_layers(layers, 0, 1)), "P0", "P3")
    assert red(report) == {"P3": f"{graph}, layer 0, output"}
    assert failed_places(report.rungs[1].checks) == {f"{graph}, layer {i}, output" for i in (0, 1)}, "no other layer"


def test_two_layers_swapped_in_the_weights(healthy_dual: Bundle, copy_of: CopyOf, judge: Judge) -> None:
    bundle = copy_of(healthy_dual)
    mutations.swap_tensors(bundle.root / "onnx" / f"{IMAGE}.safetensors", f"{BLOCKS}.1", f"{BLOCKS}.3")
    report = judge(with_hashes(bundle), "P0", "P3", "P4")
    assert list(red(report)) == ["P4"], "both sides of P3 read the same weights"
    assert red(report)["P4"].startswith("image_encoder weights, layer 1, ")
    failed = [check for check in report.rungs[2].checks if check.stage == "image_encoder weights" and check.layer]
    assert {check.layer for check in failed if check.status == "failed"} == {1, 3}


@pytest.mark.parametrize("recipe", ["int8", "int4"])
def test_one_scale_of_one_row(
    export_biomedclip: Callable[[str], Bundle], copy_of: CopyOf, judge: Judge, recipe: str
) -> None:
    def corrupt(scales: np.ndarray) -> np.ndarray:
        scales[7] *= 8
        return scales

    name = f"{BLOCKS}.2.mlp.fc1"
    bundle = copy_of(export_biomedclip(recipe))
    path = bundle.root / "onnx" / f"{IMAGE}.safetensors"
    mutations.edit_tensor(path, f"{name}.scales", corrupt)
    assert red(judge(with_hashes(bundle), "P0", "P3", "P4"))["P4"] == f"image_encoder weights, layer 2, {name}.weight"


def test_positions_are_shifted(healthy_dual: Bundle, copy_of: CopyOf, judge: Judge) -> None:
    shift = mutations.shift_positions("text.transformer.embeddings.position_embeddings.weight")
    assert red(judge(mutated(healthy_dual, copy_of, TEXT, shift), "P0", "P3")) == {
        "P3": "text_encoder, layer 0, output"
    }


def test_padding_mask_is_dropped(healthy_dual: Bundle, copy_of: CopyOf, judge: Judge) -> None:
    report = judge(mutated(healthy_dual, copy_of, TEXT, mutations.drop_padding_mask), "P0", "P3")
    assert red(report) == {"P3": "text_encoder, layer 0, output"}
    failed = {check.case for check in report.rungs[1].checks if check.status == "failed"}
    assert failed == {"3 sentences"}, "a text alone has no padding"


@pytest.mark.parametrize(
    ("graph", "fault", "place"),
    [
        (IMAGE, mutations.skip_node("visual.trunk.norm.weight"), "image_embeds"),
        (TEXT, mutations.set_epsilon(1e-6, "text.transformer"), "layer 0, output"),
        (TEXT, mutations.swap_layers(LAYERS, 1, 2), "layer 1, output"),
    ],
    ids=["no final norm", "BERT with a ViT's epsilon", "layers swapped"],
)
def test_exporter_fault_in_full_precision(
    healthy_dual: Bundle,
    biomedclip_checkpoint: Checkpoint,
    dual_full_precision_files: dict[str, p2_graph.Files],
    tmp_path: Path,
    graph: str,
    fault: mutations.Mutation,
    place: str,
) -> None:
    """What a quantized graph's own noise would hide."""
    files = dual_full_precision_files["onnx"]
    folder = shutil.copytree(files[graph].parent, tmp_path / "onnx")
    mutations.edit_graph(folder / f"{graph}.onnx", fault)
    run = prepare(healthy_dual, biomedclip_checkpoint)
    first, *_ = [
        check
        for check in p2_graph.compare(run, "onnx", {**files, graph: folder / f"{graph}.onnx"})
        if check.status == "failed"
    ]
    assert first.place == f"{graph}, {place}"


def test_epsilon_of_the_quantized_text_tower(healthy_dual: Bundle, copy_of: CopyOf, judge: Judge) -> None:
    bundle = mutated(healthy_dual, copy_of, TEXT, mutations.set_epsilon(1e-3, "text.transformer"))
    assert red(judge(bundle, "P0", "P3")) == {"P3": "text_encoder, layer 0, output"}


def test_graph_that_pools_the_mean(
    dual_full_precision_files: dict[str, p2_graph.Files],
    healthy_dual: Bundle,
    biomedclip_checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Exported from a model that goes on with the mean of all tokens instead of [CLS]."""
    run = prepare(healthy_dual, biomedclip_checkpoint)
    assert failed_places(p2_graph.compare(run, "onnx", dual_full_precision_files["onnx"])) == set()
    with monkeypatch.context() as patch:
        pool_the_mean(patch)
        wrong = p2_graph.export_full_precision(run, tmp_path, "onnx")
    checks = p2_graph.compare(run, "onnx", wrong)
    last = {IMAGE: 5, TEXT: 2}
    assert failed_places(checks) == {f"{graph}, layer {layer}, output" for graph, layer in last.items()}


def pool_the_mean(patch: pytest.MonkeyPatch) -> None:
    """Where the last layer of a tower goes on with [CLS] alone, it goes on with the mean of all tokens."""

    def chosen(x: Tensor, queries: int | None) -> Tensor:
        return x if queries is None else x.mean(dim=1, keepdim=True)

    def block(self: VitBlock, x: Tensor, queries: int | None = None) -> Tensor:
        x = chosen(x, queries) + self.attn(self.norm1(x), queries)
        return x + self.mlp(self.norm2(x))

    def attention(self: BertAttention, x: Tensor, visible: Tensor, queries: int | None = None) -> Tensor:
        return self.output(self.self(x, visible, queries), chosen(x, queries))

    patch.setattr(VitBlock, "forward", block)
    patch.setattr(BertAttention, "forward", attention)


def test_reference_that_pools_the_mean(
    healthy_dual: Bundle, biomedclip_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepare(healthy_dual, biomedclip_checkpoint)
    assert failed_places(p1_original.judge(run)) == set()
    pool_the_mean(monkeypatch)
    first, *_ = [check for check in p1_original.judge(run) if check.status == "failed"]
    assert first.place == "image_encoder, layer 2, output"


@pytest.fixture
def goldens(tmp_path: Path) -> Path:
    """The goldens of the original, with files that a test may damage."""
    return shutil.copytree(golden_biomedclip.FOLDER, tmp_path / "goldens")


def test_reference_with_two_layers_swapped(
    healthy_dual: Bundle, biomedclip_checkpoint: Checkpoint, goldens: Path
) -> None:
    mutations.swap_tensors(goldens / "model.safetensors", f"{LAYERS}.0", f"{LAYERS}.1")
    report = ladder.run(prepare(healthy_dual, biomedclip_checkpoint, goldens=goldens), ("P1",))
    assert red(report) == {"P1": "text_encoder, layer 0, output"}


def test_reference_with_another_logit_scale(
    healthy_dual: Bundle, biomedclip_checkpoint: Checkpoint, goldens: Path
) -> None:
    mutations.edit_tensor(goldens / "model.safetensors", "logit_scale", lambda scale: scale + np.float32(0.01))
    report = ladder.run(prepare(healthy_dual, biomedclip_checkpoint, goldens=goldens), ("P1",))
    assert red(report) == {"P1": "similarities, logit_scale"}


def edit_processor(bundle: Bundle, edit: Callable[[dict[str, dict[str, object]]], None]) -> Bundle:
    """Change the configuration that the bundle's processing reads."""
    path = bundle.root / "processor" / "config.json"
    config = json.loads(path.read_text("utf-8"))
    edit(config)
    path.write_text(json.dumps(config), "utf-8")
    return mutations.rehash(bundle)


def test_wrong_resize_filter(healthy_dual: Bundle, copy_of: CopyOf, judge: Judge) -> None:
    bundle = edit_processor(
        copy_of(healthy_dual), lambda config: config["preprocess_cfg"].update(interpolation="bilinear")
    )
    report = judge(bundle, "P0", "P3", "P5")
    assert red(report) == {"P0": FACTS, "P5": "pixels, pixel_values"}
    pixels = [check for check in report.rungs[2].checks if check.stage == "pixels"]
    assert {check.status for check in pixels} == {"failed"}, "every image of every size shows it"


def test_wrong_mean(healthy_dual: Bundle, copy_of: CopyOf, judge: Judge) -> None:
    bundle = edit_processor(
        copy_of(healthy_dual), lambda config: config["preprocess_cfg"].update(mean=[0.485, 0.456, 0.406])
    )
    assert red(judge(bundle, "P0", "P5")) == {"P0": FACTS, "P5": "pixels, pixel_values"}


def test_facts_that_are_not_the_processors(healthy_dual: Bundle, copy_of: CopyOf, judge: Judge) -> None:
    """An app would prepare images by them, and the ladder by the files."""
    bundle, facts = copy_of(healthy_dual), healthy_dual.manifest.facts
    assert facts is not None
    images = msgspec.structs.replace(facts.images, mean=(0.485, 0.456, 0.406))
    bundle = with_manifest(bundle, facts=msgspec.structs.replace(facts, images=images))
    assert red(judge(bundle, "P0")) == {"P0": FACTS}


@pytest.mark.parametrize("length", [3, 10**9])
def test_a_context_that_is_not_the_models(healthy_dual: Bundle, copy_of: CopyOf, judge: Judge, length: int) -> None:
    assert red(judge(with_manifest(copy_of(healthy_dual), context_length=length), "P0")) == {"P0": FACTS}


def test_a_stand_in_that_is_called_real(healthy_dual: Bundle, copy_of: CopyOf, judge: Judge) -> None:
    assert healthy_dual.manifest.source.weights == "trained-tiny"
    source = replace(healthy_dual.manifest.source, weights="real")
    assert red(judge(with_manifest(copy_of(healthy_dual), source=source), "P0")) == {"P0": FACTS}


def test_a_tower_whose_embeddings_are_none(healthy_dual: Bundle, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short ones, which the runtime refuses: a finding of the ladder, not its end."""
    encode = OnnxDualEngine.encode_images
    monkeypatch.setattr(OnnxDualEngine, "encode_images", lambda self, pixels: 1e-39 * encode(self, pixels))
    report = judge(healthy_dual, "P5")
    assert red(report) == {"P5": "embeddings"}
    assert "not of length 1" in report.reason


def test_other_vocabulary_in_the_bundle(healthy_dual: Bundle, copy_of: CopyOf, judge: Judge) -> None:
    bundle = copy_of(healthy_dual)
    path = bundle.root / "processor" / "tokenizer.json"
    document = json.loads(path.read_text("utf-8"))
    vocabulary = document["model"]["vocab"]
    vocabulary["blood"], vocabulary["cell"] = vocabulary["cell"], vocabulary["blood"]
    path.write_text(json.dumps(document), "utf-8")
    assert red(judge(mutations.rehash(bundle), "P0", "P5")) == {
        "P0": "processor, files are the checkpoint's",
        "P5": "tokens, input_ids",
    }


def test_wrong_logit_scale(healthy_dual: Bundle, copy_of: CopyOf, judge: Judge) -> None:
    bundle = copy_of(healthy_dual)
    info = bundle.manifest.dual_encoder
    assert info is not None
    report = judge(with_manifest(bundle, dual_encoder=replace(info, logit_scale=1.1 * info.logit_scale)), "P0", "P5")
    assert red(report) == {"P0": "dual_encoder, towers", "P5": "logit scale, logit_scale"}


def test_tower_of_another_hash(healthy_dual: Bundle, copy_of: CopyOf, judge: Judge) -> None:
    bundle = copy_of(healthy_dual)
    info = bundle.manifest.dual_encoder
    assert info is not None
    report = judge(with_manifest(bundle, dual_encoder=replace(info, text_tower=info.image_tower)), "P0", "P3")
    assert red(report) == {"P0": "dual_encoder, towers"}
    assert report.summary["reason"].endswith("the hash of text_encoder is not the manifest's")
    assert report.rungs[1].status == "passed", "the graphs themselves are right"


def test_the_checkpoint_is_another_one(healthy_dual: Bundle, tmp_path: Path, biomedclip_checkpoint: Checkpoint) -> None:
    assert biomedclip_checkpoint.folder is not None
    other = shutil.copytree(biomedclip_checkpoint.folder, tmp_path / "other")
    (weights,) = other.glob("*.safetensors")
    mutations.edit_tensor(weights, "visual.head.proj.weight", lambda rows: rows[::-1])
    with pytest.raises(CheckpointError, match="other: is not the checkpoint that"):
        ladder.run(prepare(healthy_dual, str(other)), ("P4",))
    older = replace(healthy_dual.manifest, source=replace(healthy_dual.manifest.source, content=None))
    report = ladder.run(prepare(replace(healthy_dual, manifest=older), str(other)), ("P4",))
    assert red(report) == {"P4": "image_encoder weights, visual.head.proj.weight"}
    failed = {check.stage for check in report.rungs[0].checks if check.status == "failed"}
    assert {"image embeddings", "image_encoder weights"} <= failed


def test_a_replay_names_the_tower(certified_dual: Bundle, copy_of: CopyOf) -> None:
    shift = mutations.shift_positions("text.transformer.embeddings.position_embeddings.weight")
    report = replay(mutated(certified_dual, copy_of, TEXT, shift))
    assert red(report) == {"verify": "text embeddings"}


def _facts(**changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["facts"].update(changes)


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str, str]] = {
    "mean": (lambda m: m["facts"]["images"].update(mean=[0, 0, 0]), "facts", "images are"),
    "score": (_facts(score="sigmoid"), "facts", "score are 'sigmoid', by the files 'softmax'"),
    "templates": (_facts(templates=["a {}"]), "facts", "templates are"),
    "control token": (lambda m: m["facts"]["tokenizer"]["special"].update({"[CLS]": 9}), "facts", "tokenizer are"),
    "no facts": (lambda m: m.update(facts=None), "facts", "facts are null"),
    "scheme": (
        lambda m: m["graphs"]["onnx"][IMAGE].update(scheme="float32"),
        "storage",
        "image_encoder: scheme 'float32' is not the recipe's, which has int8",
    ),
    "weights": (
        lambda m: m["graphs"]["onnx"][IMAGE].update(weights=None),
        "storage",
        "weights are null, and onnx/image_encoder.safetensors is there",
    ),
    "tower": (lambda m: m["dual_encoder"].update(image_tower="0" * 64), "dual_encoder", "the hash of image_encoder"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest_is_red_in_p0_and_in_verify(
    certified_dual: Bundle, copy_of: CopyOf, judge: Judge, edit: str
) -> None:
    change, stage, words = EDITS[edit]
    bundle = copy_of(certified_dual)
    path = bundle.root / "manifest.json"
    table = json.loads(path.read_text("utf-8"))
    change(table)
    path.write_text(json.dumps(table), "utf-8")
    bundle = Bundle.open(bundle.root)
    for report in (judge(bundle, "P0"), replay(bundle)):
        assert report.verdict == "rejected"
        failures = {check.stage: check.problem for check in report.rungs[0].checks if check.status == "failed"}
        assert words in (failures[stage] or "")
