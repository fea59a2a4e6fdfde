"""The ladder of dual encoders: what it looks at, what it says where it cannot run, and its report."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import mutations
import numpy as np
import pytest
from PIL import Image

import nexus_edge
from nexus_edge.axes import engines, targets
from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.ci.from_report import report_junit
from nexus_edge.engines.onnx.probe import runner as onnx
from nexus_edge.errors import BundleError
from nexus_edge.models.biomedclip.original_inputs import OriginalInputs
from nexus_edge.parity import ladder
from nexus_edge.parity.certify import certify
from nexus_edge.parity.dual_encoder.evaluation_set import LARGE, make_evaluation_set
from nexus_edge.parity.goldens import GOLDENS, read_goldens
from nexus_edge.parity.ladder import prepare
from nexus_edge.parity.report.html import tiles, to_html
from nexus_edge.parity.report.markdown import to_markdown
from nexus_edge.parity.report.plots import drift
from nexus_edge.parity.report.report import Report, from_json
from nexus_edge.parity.sources import parameter_bytes, weight_bytes
from nexus_edge.processing import dual_from_checkpoint
from nexus_edge.runtimes import load_dual_encoder
from nexus_edge.runtimes.dual_encoder.ship import ship_image_tower
from nexus_edge.targets.onnx import target as onnx_target

pytestmark = pytest.mark.slow

TOO_LITTLE = 1000  # bytes
MANIFEST = ("facts", "storage", "dual_encoder")
"""What `verify` asks of manifest.json before it replays."""
EXPORT_PACKAGES = ("torch", "onnx", "onnx_ir", "onnxscript", "safetensors", "ml_dtypes", "matplotlib")
CopyOf = Callable[[Bundle], Bundle]


@pytest.fixture(scope="module")
def report(certified_dual: Bundle) -> Report:
    """What the certified bundle carries."""
    return from_json((certified_dual.root / "parity" / "report.json").read_text("utf-8"))


def test_an_export_is_certified(certified_dual: Bundle, report: Report) -> None:
    names = ("report.json", "report.md", "report.html", "goldens.safetensors")
    assert {name for name in certified_dual.manifest.files if name.startswith("parity/")} == {
        f"parity/{name}" for name in names
    }
    assert report.verdict == "passed"
    assert {rung.name for rung in report.rungs if rung.status in ("passed", "ambiguous")} == set(ladder.RUNGS)


def test_stages_of_every_rung(report: Report) -> None:
    stages = {rung.name: list(dict.fromkeys(check.stage for check in rung.checks)) for rung in report.rungs}
    assert stages["P0"] == [
        *("files", "facts", "processor", "dual_encoder", "storage", "image_encoder", "text_encoder", "companions")
    ]
    assert stages["P1"] == ["pixels", "tokens", "image_encoder", "text_encoder", "similarities"]
    towers = ["image_encoder", "text_encoder"]
    assert stages["P2"] == stages["P3"] == [*towers, *(f"{tower}, carried" for tower in towers)]
    assert stages["P4"] == [
        *("image_encoder weights", "text_encoder weights", "image_encoder", "text_encoder"),
        *("image embeddings", "text embeddings", "top-1", "ranking", "held-out cells", "held-out captions"),
    ]
    assert stages["P5"] == [
        *("pixels", "tokens", "logit scale", "image embeddings", "text embeddings", "probabilities", "top-1"),
        *("ranking", "probabilities of full precision"),
    ]


def test_every_layer_of_both_towers_is_judged(report: Report, biomedclip_checkpoint: Checkpoint) -> None:
    config = biomedclip_checkpoint.config
    depth = config["model_cfg"]["vision_cfg"]["timm_kwargs"]["depth"], config["text_config"]["num_hidden_layers"]
    for rung in report.rungs[2:5]:
        for tower, layers in zip(("image_encoder", "text_encoder"), depth, strict=True):
            seen = {check.layer for check in rung.checks if check.stage == tower and check.layer is not None}
            assert seen == set(range(layers)), (rung.name, tower)


def test_report_files(report: Report) -> None:
    page = to_html(report)
    assert page.count("<svg") == 6  # four plots, two of which are drawn once more for narrow pages
    assert set(drift(report)) == {"image_encoder", "text_encoder"}
    for outside in ("src=", "href=", "<script", "@import", "url("):
        assert outside not in page.replace('xlink:href="#', "").replace("url(#", "").replace('src="data:', ""), (
            outside
        )  # all within
    labels = [tile.label for tile in tiles(report)]
    assert labels[:3] == ["zero-shot accuracy", "zero-shot accuracy, full precision", "recall@5"]
    assert "| P4 | scheme" in to_markdown(report)
    assert "held-out cells" in report_junit(report)
    assert from_json(report.to_json()) == report


def test_the_evaluation_set_is_real_and_the_same_every_time() -> None:
    small, large = make_evaluation_set(2_000_000), make_evaluation_set(196_000_000)
    assert len(small.crops) > 5 * len(large.crops) >= 5 * 20
    labels = [cell.label for cell in large.held_out.cells]
    assert {labels.count(label) for label in large.held_out.labels} <= {len(labels) // 3, len(labels) // 3 + 1}
    assert large.sentences == make_evaluation_set(LARGE + 1).sentences
    assert large.sentences[-1] == small.sentences[-1], "the text that every context cuts"
    assert len(small.sentences) == 24
    sizes = [probe.image.size for probe in small.probes]
    assert any(max(size) < 64 for size in sizes) and any(min(size) > 224 for size in sizes)
    assert {np.sign(width - height) for width, height in sizes} == {-1, 0, 1}, "upright, square, wide"
    assert {probe.image.mode for probe in small.probes} == {"RGB", "L"}


def test_what_does_not_fit_is_not_run_and_never_passed(healthy_dual: Bundle, biomedclip_checkpoint: Checkpoint) -> None:
    rungs = ("P2", "P3", "P5")
    report = ladder.run(prepare(healthy_dual, biomedclip_checkpoint, max_memory=TOO_LITTLE), rungs)
    assert {rung.status for rung in report.rungs} == {"not run"}
    assert all("--max-memory" in str(rung.reason) for rung in report.rungs)


def test_right_weights_alone_do_not_pass_where_no_model_fits(
    healthy_dual: Bundle, biomedclip_checkpoint: Checkpoint, copy_of: CopyOf
) -> None:
    bundle = copy_of(healthy_dual)
    report = certify(bundle, biomedclip_checkpoint, max_memory=TOO_LITTLE)
    scheme = report.rungs[4]
    assert scheme.status == "not run"
    assert str(scheme.reason).startswith("both models in PyTorch takes")
    assert report.verdict == "incomplete"
    with pytest.raises(BundleError, match="no goldens"):
        nexus_edge.verify(bundle.with_parity(report.summary))


def test_a_checkpoint_that_is_gone(healthy_dual: Bundle, biomedclip_checkpoint: Checkpoint) -> None:
    """What compares the bundle with itself still runs."""
    run = replace(prepare(healthy_dual, biomedclip_checkpoint), checkpoint="no checkpoint: it is gone")
    report = ladder.run(run, ("P0", "P2", "P3", "P4", "P5"))
    assert [rung.status for rung in report.rungs] == ["passed", "not run", "passed", "not run", "passed"]


def test_full_precision_makes_room_for_the_runtime(healthy_dual: Bundle, biomedclip_checkpoint: Checkpoint) -> None:
    """Each of both fits, and both together do not: what is gated is compared, what is only reported is left out."""
    needed = parameter_bytes(biomedclip_checkpoint)
    run = prepare(healthy_dual, biomedclip_checkpoint, max_memory=needed + weight_bytes(healthy_dual) - 1)
    assert run.references.full is run.references.full
    report = ladder.run(run, ("P5",))
    assert "full" not in run.references.loaded
    assert report.rungs[0].status == "passed"
    assert report.rungs[0].notes[0].startswith("probabilities of full precision: ")


def test_the_other_half_of_a_bundle_is_not_judged(certified_dual: Bundle, biomedclip_checkpoint: Checkpoint) -> None:
    model = load_dual_encoder(certified_dual)
    out = certified_dual.root.parent / "image-alone"
    shipped = ship_image_tower(certified_dual, model.label_bank(["platelet", "red blood cell"]), out, force=True)
    with pytest.raises(BundleError, match="judge the bundle that it was taken from"):
        ladder.run(prepare(shipped, biomedclip_checkpoint))


# -- several targets ---------------------------------------------------------------------------------------------------


@pytest.fixture
def two_targets(healthy_dual: Bundle, copy_of: CopyOf, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle whose graphs are there twice, for a second target that runs them in the same way."""
    second = ModuleType("nexus_edge.engines.second.probe.runner")
    second.RUNNER = onnx.OnnxRunner()
    monkeypatch.setitem(sys.modules, second.__name__, second)
    monkeypatch.setitem(engines(), "second", replace(engines()["onnx"], name="second", target="second"))
    monkeypatch.setitem(targets(), "second", targets()["onnx"])
    monkeypatch.setitem(sys.modules, "nexus_edge.targets.second", ModuleType("nexus_edge.targets.second"))
    monkeypatch.setitem(sys.modules, "nexus_edge.targets.second.target", onnx_target)
    bundle = copy_of(healthy_dual)
    shutil.copytree(bundle.root / "onnx", bundle.root / "second")
    graphs = {
        name: replace(info, file=f"second/{name}.onnx", weights=f"second/{name}.safetensors")
        for name, info in bundle.manifest.graphs["onnx"].items()
    }
    stand_in = next(iter(bundle.manifest.files.values()))  # until all files are hashed below
    manifest = replace(
        bundle.manifest,
        targets=("onnx", "second"),
        graphs={**bundle.manifest.graphs, "second": graphs},
        files={**bundle.manifest.files, **{file: stand_in for info in graphs.values() for file in info.files}},
    )
    (bundle.root / "manifest.json").write_text(manifest.to_json(), "utf-8")
    return mutations.rehash(Bundle.open(bundle.root, check=None))


def test_one_report_judges_every_target(two_targets: Bundle, biomedclip_checkpoint: Checkpoint) -> None:
    graph = two_targets.graph("second", "image_encoder")
    mutations.edit_graph(graph, mutations.swap_layers("visual.trunk.blocks", 1, 2))
    report = ladder.run(prepare(mutations.rehash(two_targets), biomedclip_checkpoint), ("P0", "P3"))
    assert report.targets == ("onnx", "second")
    exporter = report.rungs[1]
    assert {target: exporter.status_of(target) for target in report.targets} == {"onnx": "passed", "second": "failed"}
    assert exporter.first_failure is not None
    assert exporter.first_failure.finding.startswith("image_encoder, layer 1, output (one image, second): ")
    assert report.summary["targets"]["second"] == {"P0": "passed", "P3": "failed"}
    assert "| onnx passed, second failed |" in to_markdown(report)


def test_a_broken_target_does_not_stop_the_others(two_targets: Bundle, biomedclip_checkpoint: Checkpoint) -> None:
    two_targets.graph("second", "text_encoder").write_bytes(b"no graph")
    report = ladder.run(prepare(mutations.rehash(two_targets), biomedclip_checkpoint), ("P0", "P3"))
    exporter = report.rungs[1]
    assert {target: exporter.status_of(target) for target in report.targets} == {"onnx": "passed", "second": "not run"}
    assert exporter.notes == ("not run for second: P0 failed for text_encoder",)
    assert report.verdict == "rejected"


def test_a_target_that_nothing_here_runs(
    two_targets: Bundle, biomedclip_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(engines(), "second")
    report = ladder.run(prepare(two_targets, biomedclip_checkpoint), ("P0",))
    assert report.rungs[0].status_of("second") == "not run"
    assert "nothing here runs graphs of the target second" in report.rungs[0].notes[0]


# -- goldens -----------------------------------------------------------------------------------------------------------


def test_a_good_bundle_replays(certified_dual: Bundle) -> None:
    report = nexus_edge.verify(certified_dual.root)
    assert report.verdict == "passed"
    stages = [check.stage for check in report.rungs[0].checks if check.gate]
    embeddings = ("image embeddings", "text embeddings")
    assert stages == [*MANIFEST, "pixels", "tokens", *embeddings, "probabilities", "top-1", "ranking"]


def test_a_shipped_image_tower_replays_what_it_has(certified_dual: Bundle, tmp_path: Path) -> None:
    bank = load_dual_encoder(certified_dual).label_bank(["white blood cell", "platelet"])
    shipped = ship_image_tower(certified_dual, bank, tmp_path / "device")
    report = nexus_edge.verify(shipped.root)
    assert report.verdict == "passed"
    assert [check.stage for check in report.rungs[0].checks] == [*MANIFEST, "pixels", "tokens", "image embeddings"]
    mutations.edit_graph(shipped.graph("onnx", "image_encoder"), mutations.swap_layers("visual.trunk.blocks", 1, 3))
    assert nexus_edge.verify(mutations.rehash(shipped)).verdict == "rejected"


def test_goldens_are_small_and_hold_images(certified_dual: Bundle) -> None:
    assert certified_dual.manifest.files[GOLDENS].size < 1_500_000, "they travel with every bundle"
    (golden,) = read_goldens(certified_dual)
    assert golden.values["picture.00"][1:4].tobytes() == b"PNG"


def test_a_replay_needs_the_base_install_only(certified_dual: Bundle) -> None:
    script = f"""
import sys
for name in {EXPORT_PACKAGES}:
    sys.modules[name] = None
import nexus_edge
assert nexus_edge.verify({str(certified_dual.root)!r}).verdict == "passed"
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- inputs by another way ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inputs(biomedclip_checkpoint: Checkpoint) -> OriginalInputs:
    return OriginalInputs.of(biomedclip_checkpoint.config, biomedclip_checkpoint.processor_files())


def test_words_are_cut_as_bert_cuts_them(inputs: OriginalInputs) -> None:
    pieces = {
        "[UNK]": 1,
        "[CLS]": 2,
        "[SEP]": 3,
        "naive": 4,
        "un": 5,
        "##aff": 6,
        "##able": 7,
        "-": 8,
        "µm": 9,
        "&": 10,
    }
    small = replace(inputs, vocabulary=pieces, context=12, lowercase=True)
    assert small.ids(["Na\u00efve un-AFFable unaffable &amp; \u00b5m zebra"])[0].tolist() == [
        *(2, 4, 5, 8, 1, 5, 6, 7, 10, 9, 1, 3)
    ]
    assert small.ids([" ".join(["naive"] * 50)])[0].tolist() == [2, *[4] * 10, 3], "cut in front of [SEP]"


@pytest.mark.parametrize("wrong", [Image.Resampling.BILINEAR, Image.Resampling.LANCZOS, Image.Resampling.NEAREST])
def test_pixels_tell_every_filter_apart(
    inputs: OriginalInputs, biomedclip_checkpoint: Checkpoint, wrong: Image.Resampling
) -> None:
    """By the tolerance of P5: the right filter is within it on every probe, any other on none."""
    from nexus_edge.parity import tolerances

    assert biomedclip_checkpoint.folder is not None
    right = dual_from_checkpoint(biomedclip_checkpoint.folder)
    gate = tolerances.load().gate("P5", "pixels", "onnx", "float32", "real")
    assert gate is not None and gate.metric == "mean_abs"
    for probe in make_evaluation_set(2_000_000).probes:
        expected = inputs.pixels([probe.image]).numpy()
        for processor, holds in ((right, True), (replace(right, resample=wrong), False)):
            error = float(np.abs(processor.images([probe.image]) - expected).mean())
            assert gate.holds(error) == holds, (probe.name, error)
