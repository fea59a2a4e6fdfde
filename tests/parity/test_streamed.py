"""What is computed layer by layer is what the model computes as a whole, in PyTorch and in the runtime."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.engines.onnx.probe.pieces import pieces
from nexus_edge.engines.onnx.probe.runner import RUNNER
from nexus_edge.engines.openvino.probe.variants import EXACT, shipped_here
from nexus_edge.errors import OutputError
from nexus_edge.layers.kv_cache import KVCache
from nexus_edge.parity.formats import BFLOAT16, Formats
from nexus_edge.parity.ladder import prepare
from nexus_edge.parity.metrics import compare
from nexus_edge.parity.rounding import effect, rounded
from nexus_edge.parity.rungs import p2_graph
from nexus_edge.parity.spool import Spool
from nexus_edge.parity.stages import run_torch
from nexus_edge.parity.vlm import scheme
from nexus_edge.parity.vlm.cases import Case
from nexus_edge.parity.vlm.references import text_rows
from nexus_edge.parity.vlm.run import VlmRun, ask, vlm_run
from nexus_edge.parity.vlm.streamed import carry

pytestmark = pytest.mark.slow

FLOAT_NOISE = 1e-5  # of sums in another order: some hundred numbers with 6e-8 each, through four layers
ANOTHER_DRAW = 0.3  # tokens share few errors, yet are dozens: their norm varies by a tenth, at three deviations
NEW_TOKENS = 6


@pytest.fixture(scope="module")
def vlm(healthy: Bundle, checkpoint: Checkpoint) -> VlmRun:
    return vlm_run(prepare(healthy, checkpoint))


@pytest.mark.parametrize("reference", ["full", "quantized", "dequantized"])
def test_every_layer_is_that_of_the_whole_model(vlm: VlmRun, reference: Any) -> None:
    """Bit by bit: the same operators on the same rows. The head sees fewer rows at a time."""
    model = vlm.run.references.model(reference)
    for case in vlm.cases:
        trace = vlm.traces(reference)[case.name]
        inputs: Any = {"input_ids": trace.call.ids}
        if trace.call.images is not None:
            inputs |= dict(zip(("pixel_values", "image_sizes"), trace.call.images, strict=True))
        whole = scheme.capture(model, replace(case, inputs=inputs))
        for name in whole.keys() - {"logits"}:
            np.testing.assert_array_equal(trace.load(name), whole[name], err_msg=f"{case.name}: {name}")
        rows = trace.call.rows
        assert set(text_rows(trace.call.is_image[0])) <= set(rows)
        np.testing.assert_allclose(trace.load("logits"), whole["logits"][rows], rtol=0, atol=scale(whole) * FLOAT_NOISE)


def test_steps_are_those_of_the_graphs(vlm: VlmRun) -> None:
    """Each graph's own module on a step's inputs gives the step's expected values."""
    from nexus_edge.families import family_named

    specs = {
        spec.name: spec for spec in family_named(vlm.run.manifest.model_type).split().graphs(vlm.run.references.full)
    }
    steps = list(vlm.steps("full"))
    assert {step.graph for step in steps} == set(specs)
    for step in steps:
        found = run_torch(specs[step.graph], step.inputs)
        assert list(found) == list(step.expected)
        for name, value in found.items():
            assert value.shape == step.expected[name].shape, name
            size = np.abs(value).max(initial=0)
            np.testing.assert_allclose(step.expected[name], value, rtol=0, atol=size * FLOAT_NOISE, err_msg=name)


@pytest.mark.parametrize("cut", [True, False], ids=["each layer alone", "carried"])
def test_errors_of_formats_move_layers_as_they_move_the_whole_model(vlm: VlmRun, cut: bool) -> None:
    """Errors are drawn in another order there, so that only their size can be the same."""
    from nexus_edge.families import family_named

    specs = {
        spec.name: spec
        for spec in family_named(vlm.run.manifest.model_type).split().graphs(vlm.run.references.quantized)
    }
    formats = Formats(BFLOAT16, "groups", 128)
    for step in [step for step in vlm.steps("quantized") if step.case in ("one image", "text")]:
        found = step.effect(formats, cut=cut)
        fed = step.expected if cut else {}
        spec, inputs = specs[step.graph], step.inputs
        whole = effect(partial(run_torch, spec, inputs, fed), step.expected, formats, draws=1)
        assert list(found) == list(whole)
        for name in whole.keys() - {"logits"}:  # of one token, so that each draw is several times another
            size = found[name]["relative_l2"]
            assert size == pytest.approx(whole[name]["relative_l2"], rel=ANOTHER_DRAW), (step.case, name)


@pytest.mark.parametrize("formats", [Formats(inputs="ties"), Formats(BFLOAT16, "groups", 128)], ids=["ties", "groups"])
def test_no_draw_of_a_token_is_beyond_the_limit_that_another_gives(
    healthy: Bundle, checkpoint: Checkpoint, formats: Formats
) -> None:
    """Its values are moved by 0 in one draw and by 0.006 in the next; a limit is four times what is measured."""
    run = prepare(healthy, checkpoint)
    vlm = ask(run, [case for case in vlm_run(run).cases if case.name in ("one image", "text")])
    clean, prompts = vlm.traces("quantized"), list(vlm.references.prompts.values())
    steps = [step for step in vlm.steps("quantized") if "logits" in step.expected and "next token" in step.case]
    for seed in range(1, 5):
        with rounded(formats, seed):
            drawn = carry(vlm.references.source("quantized"), prompts, Spool(), list(clean.values()))
        for step, trace, reference in zip(steps, drawn, clean.values(), strict=True):
            limits = {name: 4 * found["relative_l2"] for name, found in step.effect(formats, cut=True).items()}
            found = compare(trace.load("logits")[-1:], reference.load("logits")[-1:])["relative_l2"]
            assert found < limits["logits"], (seed, step.case)
            for name in (name for name in limits if name.endswith(".output")):
                found = compare(trace.load(name)[..., -1:, :], step.expected[name])["relative_l2"]
                assert found <= limits[name], (seed, step.case, name)


@pytest.mark.parametrize("distance", [200, 3], ids=["within the limit", "growing past it"])
def test_forced_answers_are_greedy_decoding(vlm: VlmRun, checkpoint: Checkpoint, distance: int) -> None:
    """All tokens in one pass, against the model with its cache, token by token."""
    assert vlm.limit is not None
    ids = np.arange(5, 5 + vlm.limit - distance)[None] % 200 + 5
    case = Case("made up", "", (), {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    small = ask(prepare(vlm.run.bundle, checkpoint), [case])
    expected = list(greedy(vlm.run.references.full, ids))
    answer = small.forced("full", {case.name: tuple(int(row.argmax()) for row in expected)})[case.name]
    assert answer.ids == [int(row.argmax()) for row in expected]
    np.testing.assert_allclose(answer.first_logits, expected[0], rtol=0, atol=np.abs(expected[0]).max() * FLOAT_NOISE)


def greedy(model: Any, ids: Any) -> Iterator[Any]:
    cache, feeds = KVCache(), torch.from_numpy(ids)
    with torch.inference_mode():
        for _ in range(NEW_TOKENS):
            logits = model(input_ids=feeds, cache=cache)[0, -1].numpy()
            yield logits
            feeds = torch.tensor([[int(logits.argmax())]])


@pytest.mark.parametrize("graph", ["vision_encoder", "embed_tokens", "decoder"])
def test_pieces_are_the_graph(healthy: Bundle, vlm: VlmRun, graph: str) -> None:
    """Layers in sessions of their own compute bit by bit what they compute in one."""
    path = healthy.graph("onnx", graph)
    step = next(step for step in vlm.steps("quantized") if step.graph == graph)
    whole = RUNNER.open(path, graph, "cut").run({**step.expected, **step.inputs})
    found: dict[str, Any] = {}
    for piece in pieces(path, None):
        found |= piece.stage.run({**found, **step.expected, **step.inputs})
    assert whole.keys() <= found.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_no_piece_holds_another_layers_weights(healthy: Bundle) -> None:
    """Else the peak would be more than a layer: every weight of the graph is in one piece."""
    import onnx

    from nexus_edge.engines.onnx.probe.pieces import parts_of

    graph = onnx.load(str(healthy.graph("onnx", "decoder")), load_external_data=False).graph
    parts = parts_of(graph)
    large = {tensor.name for tensor in graph.initializer if tensor.external_data}
    assert len(parts) == 5
    assert sorted(large) == sorted(name for part in parts for name in part.weights if name in large)


def test_a_spool_gives_back_what_was_kept() -> None:
    spool = Spool()
    arrays = [np.arange(6.0).reshape(2, 3), np.zeros((1, 0, 4), np.float32), np.array([[True]]), np.float32(3) * 1]
    kept = [spool.keep(np.asarray(array)) for array in arrays]
    for array, place in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(place.load(), array)
        assert place.load().dtype == np.asarray(array).dtype


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def seek(self, place: int) -> None: ...

        def write(self, data: object) -> None:
            raise OSError(28, "No space left on device")

    spool = Spool()
    monkeypatch.setattr(spool, "_file", Full())
    with pytest.raises(OutputError, match=r"No space left on device.*TMPDIR"):
        spool.keep(np.zeros(3))


@pytest.mark.parametrize("rounds", [False, True], ids=["exact", "as shipped"])
def test_pieces_are_the_openvino_decoder(tiny_openvino: Bundle, vlm: VlmRun, rounds: bool) -> None:
    pytest.importorskip("openvino", reason="needs the extra `openvino`")
    from nexus_edge.engines.openvino.probe.pieces import decoder_pieces
    from nexus_edge.engines.openvino.probe.runner import RUNNER as OPENVINO

    files = {name: tiny_openvino.graph("openvino", name) for name in tiny_openvino.manifest.graphs["openvino"]}
    settings = shipped_here() if rounds else EXACT  # in bfloat16 or not, as this CPU has it
    (part,) = (part for part in OPENVINO.counterparts(files, None) if part.graph == "decoder" and part.rounds == rounds)
    whole = part.open("cut")
    for step in [step for step in vlm.steps("dequantized") if step.graph == "decoder"][:2]:
        expected = whole.run({**step.expected, **step.inputs})
        found: dict[str, Any] = {}
        for piece in decoder_pieces(files["language_model"], settings, None):
            inputs = {**found, **step.expected, **step.inputs}
            found |= piece.stage.run({name: inputs[name] for name in piece.stage.inputs})
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=0, atol=np.abs(value).max() * FLOAT_NOISE, err_msg=name)


@pytest.fixture(scope="module")
def decoder_file(vlm: VlmRun, tmp_path_factory: pytest.TempPathFactory) -> p2_graph.Files:
    """OpenVINO's decoder in full precision, as P2 exports it."""
    pytest.importorskip("openvino", reason="needs the extra `openvino`")
    folder = tmp_path_factory.mktemp("full-precision")
    return {"language_model": p2_graph.export_full_precision(vlm.run, folder, "openvino")["language_model"]}


def test_an_openvino_decoder_without_weights_gets_those_of_the_checkpoint(
    vlm: VlmRun, decoder_file: p2_graph.Files
) -> None:
    weights = sum(
        parameter.nbytes for parameter in vlm.run.references.full.get_submodule("model.layers.0").parameters()
    )
    assert decoder_file["language_model"].with_suffix(".bin").stat().st_size < weights / 10
    checks = p2_graph.compare(vlm.run, "openvino", decoder_file)
    assert {check.status for check in checks} == {"passed"}
    for stage in ("decoder", "decoder, carried"):
        assert {check.layer for check in checks if check.stage == stage} == {*range(4), None}
    assert max(check.measures["relative_l2"] for check in checks) < FLOAT_NOISE


def test_a_wrong_weight_of_that_decoder_shows_in_its_layer(
    vlm: VlmRun, decoder_file: p2_graph.Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a layer is fed by the reference there, too, and its weights are no other layer's."""
    right = p2_graph._reader(vlm.run)
    wrong = {"model.layers.2.mlp.down_proj.weight": "model.layers.1.mlp.down_proj.weight"}
    monkeypatch.setattr(p2_graph, "_reader", lambda run: lambda name: right(wrong.get(name, name)))
    failed = [check for check in p2_graph.compare(vlm.run, "openvino", decoder_file) if check.status == "failed"]
    assert {(check.stage, check.layer) for check in failed if "carried" not in check.stage} == {("decoder", 2)}


@pytest.mark.parametrize(("target", "needed"), [("onnx", 2.4), ("openvino", 3.2), ("coreml", 30.8)])
def test_full_precision_takes_a_layer_where_graphs_come_in_chunks(
    vlm: VlmRun, monkeypatch: pytest.MonkeyPatch, target: str, needed: float
) -> None:
    """Phi-3-Vision: 15 GB of a decoder, of which a layer is loaded at a time; OpenVINO's tower comes whole."""
    sizes = {"vision_encoder": 1.2e9, "embed_tokens": 0.4e9, "decoder": 15e9}
    monkeypatch.setattr(p2_graph, "graph_bytes", lambda checkpoint, model_type: sizes)
    run = replace(vlm.run, kind=replace(vlm.run.kind, reference_bytes=lambda run, reference: 800_000_000))
    assert p2_graph._needed(run, target) == pytest.approx(needed * 1e9)


def scale(values: Any) -> float:
    return float(np.abs(values["logits"]).max())
