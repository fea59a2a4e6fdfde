"""The OpenVINO engine gives what was recorded of the original, goes back to prefixes, and crosses LongRoPE's limit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from golden_phi3 import CASES, Case
from phi3_prompts import extend, tokens_of

from nexus_edge import processing
from nexus_edge.bundle import Bundle
from nexus_edge.engines.openvino.engine import OpenVinoEngine
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.errors import BundleError
from nexus_edge.runtimes import VLM, EngineOptions, load
from nexus_edge.runtimes.vlm.context import Context, Tokens

pytestmark = pytest.mark.slow

NOISE = 1e-5  # of the largest logit: float32 sums in another order, as in test_golden_answers.py
EXACT = OpenVinoSettings("f32", 0, "f32")
GREEDY = [
    name
    for name, case in CASES.items()
    if case["config"] == "config.json" and name != "text_bf16" and "decode_ids" in Case(name).stages
]


@pytest.fixture(scope="module")
def model(golden_bundle: Callable[..., Bundle]) -> Callable[..., VLM]:
    """Golden config file -> the golden weights in float32 in an engine that rounds nothing."""
    options = EngineOptions(threads=1, openvino=EXACT)
    return lambda config="config.json": load(golden_bundle("fp32", config, ("openvino",)), options)


def prompt_of(vlm: VLM, case: Case) -> Tokens:
    return tokens_of(vlm.engine, vlm.host, case.input_ids[0], case.pixel_values, case.image_sizes)


def follow(context: Context, prompt: Tokens, ids: np.ndarray) -> np.ndarray:
    """Logits after the prompt, and after each of `ids` but the last."""
    return np.stack([context.load(prompt)[0].copy(), *(context.append(int(id_)).copy() for id_ in ids[:-1])])


@pytest.mark.parametrize("name", GREEDY)
def test_greedy_steps_of_the_original(model: Callable[..., VLM], name: str) -> None:
    case, made = Case(name), model()
    recorded = case.stages["decode_logits"].numpy()
    found = follow(Context(made.engine.decoder(), made.host), prompt_of(made, case), case.stages["decode_ids"].numpy())
    np.testing.assert_allclose(found, recorded, rtol=0, atol=NOISE * np.abs(recorded).max())


def test_crossing_the_rope_limit_equals_a_full_recompute(model: Callable[..., VLM]) -> None:
    case, made = Case("text_cross"), model("config_omp64.json")
    recorded = case.stages["full_recompute_greedy_logits"].numpy()
    ids = case.stages["full_recompute_greedy_ids"].numpy()
    found = follow(Context(made.engine.decoder(), made.host), prompt_of(made, case), ids)
    np.testing.assert_allclose(found, recorded, rtol=0, atol=NOISE * np.abs(recorded).max())


def test_pieces_of_a_long_prompt_take_the_long_list(model: Callable[..., VLM]) -> None:
    made = model("config_omp64.json").engine.decoder()
    ids = np.random.default_rng(0).integers(5, 500, 100)
    whole = extend(made, ids, 0, 100).copy()
    for start in range(0, 100, 25):  # the first two pieces end before the limit of 64
        pieces = extend(made, ids[start : start + 25], start, max(start + 25, 65))
    np.testing.assert_allclose(pieces, whole, rtol=0, atol=NOISE * np.abs(whole).max())
    for start in range(0, 100, 25):
        wrong = extend(made, ids[start : start + 25], start, start + 25)
    assert np.abs(wrong - whole).max() > 100 * NOISE * np.abs(whole).max()


def test_back_to_a_prefix(model: Callable[..., VLM]) -> None:
    made = model().engine.decoder()
    ids = np.random.default_rng(1).integers(5, 500, 40)
    expected = extend(made, ids, 0, 40).copy()
    extend(made, ids[:9][::-1].copy(), 25, 34)  # other tokens after the first 25
    found = extend(made, ids[25:], 25, 40)
    np.testing.assert_allclose(found, expected, rtol=0, atol=NOISE * np.abs(expected).max())


def test_an_interrupted_call_is_made_good(model: Callable[..., VLM], monkeypatch: pytest.MonkeyPatch) -> None:
    made = model().engine.decoder()
    ids = np.random.default_rng(2).integers(5, 500, 30)
    expected = extend(made, ids, 0, 30).copy()
    with monkeypatch.context() as patch:
        request = made._decoder._request
        patch.setattr(made._decoder, "_request", _Stopped(request))
        with pytest.raises(KeyboardInterrupt):
            extend(made, ids[:5], 20, 25)
    found = extend(made, ids[20:], 20, 30)
    np.testing.assert_allclose(found, expected, rtol=0, atol=NOISE * np.abs(expected).max())


class _Stopped:
    """A request that is interrupted when its work is done."""

    def __init__(self, request: object) -> None:
        self._request = request

    def infer(self, *args: object, **kwargs: object) -> None:
        self._request.infer(*args, **kwargs)  # type: ignore[attr-defined]
        raise KeyboardInterrupt


def test_same_answers_as_onnx_runtime(tiny_openvino: Bundle) -> None:
    """With the default settings, whose cache has 8 bits."""
    onnx, openvino = (load(tiny_openvino, EngineOptions(threads=1), engine=name) for name in ("onnx", "openvino"))
    assert isinstance(onnx, VLM)
    assert isinstance(openvino, VLM)
    from nexus_edge.assets.heldout import held_out_questions

    for item in held_out_questions(6):
        answers = ["".join(vlm.generate(item.question, [item.image])) for vlm in (onnx, openvino)]
        assert answers[0] == answers[1]
        assert answers[0]


def test_the_first_target_is_the_default(tiny_openvino: Bundle) -> None:
    vlm = load(tiny_openvino, EngineOptions(threads=1))
    assert isinstance(vlm, VLM)
    assert isinstance(vlm.engine, OpenVinoEngine)


def test_a_target_that_is_not_there(golden_bundle: Callable[..., Bundle]) -> None:
    with pytest.raises(
        BundleError, match="was exported for openvino, and engine 'onnx' runs graphs for onnx; leave the"
    ):
        load(golden_bundle("fp32", targets=("openvino",)), engine="onnx")


def test_processing_finds_its_files(golden_bundle: Callable[..., Bundle]) -> None:
    assert processing.from_checkpoint(golden_bundle("fp32", targets=("openvino",)).root).stop_ids


def test_separators_that_are_too_short_are_found_when_it_is_loaded(tiny_openvino: Bundle, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_openvino.root, tmp_path / "bundle")
    config = json.loads((root / "openvino" / "config.json").read_text())
    config["sub_GN"][0][0][0].pop()
    (root / "openvino" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match=r"config\.json: sub_GN has 4095 numbers, and vision_projection takes 4096"):
        load(Bundle.open(root, check=None), EngineOptions(threads=1), engine="openvino")
