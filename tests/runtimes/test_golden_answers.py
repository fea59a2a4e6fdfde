"""The exported model gives the answers that were recorded of the original, images and LongRoPE included."""

from collections.abc import Callable

import numpy as np
import pytest
from golden_phi3 import CASES, Case
from phi3_prompts import tokens_of

from nexus_edge.bundle import Bundle
from nexus_edge.runtimes import VLM, EngineOptions, load
from nexus_edge.runtimes.vlm.context import Context, Tokens

pytestmark = pytest.mark.slow

NOISE = 1e-5  # of the largest logit: float32 sums in another order, as in tests/models/test_phi3_v_stages.py
GREEDY = [
    name
    for name, case in CASES.items()
    if case["config"] == "config.json" and name != "text_bf16" and "decode_ids" in Case(name).stages
]


@pytest.fixture(scope="module")
def golden_vlm(golden_bundle: Callable[..., Bundle]) -> Callable[[str], VLM]:
    """Golden config file -> the golden weights, exported in float32 and loaded."""
    return lambda config: load(golden_bundle("fp32", config), EngineOptions(threads=1))


def prompt_of(vlm: VLM, case: Case) -> Tokens:
    return tokens_of(vlm.engine, vlm.host, case.input_ids[0], case.pixel_values, case.image_sizes)


def assert_follows(context: Context, prompt: Tokens, ids: np.ndarray, recorded: np.ndarray) -> None:
    """Logits after the prompt, and after each of `ids` but the last, are the recorded ones."""
    logits = [context.load(prompt)[0].copy(), *(context.append(int(id_)).copy() for id_ in ids[:-1])]
    np.testing.assert_allclose(logits, recorded, rtol=0, atol=NOISE * np.abs(recorded).max())


@pytest.mark.parametrize("name", GREEDY)
def test_greedy_steps(golden_vlm: Callable[[str], VLM], name: str) -> None:
    case = Case(name)
    vlm = golden_vlm("config.json")
    recorded = case.stages
    context = Context(vlm.engine.decoder(), vlm.host)
    prompt = prompt_of(vlm, case)
    assert_follows(context, prompt, recorded["decode_ids"].numpy(), recorded["decode_logits"].numpy())


def test_crossing_the_rope_limit_equals_a_full_recompute(golden_vlm: Callable[[str], VLM]) -> None:
    case, vlm = Case("text_cross"), golden_vlm("config_omp64.json")
    assert [vlm.host.positions.regime(length) for length in (64, 65)] == [0, 1]
    ids = case.stages["full_recompute_greedy_ids"].numpy()
    assert case.input_ids.shape[1] <= 64 < case.input_ids.shape[1] + len(ids) - 1
    context = Context(vlm.engine.decoder(), vlm.host)
    recorded = case.stages["full_recompute_greedy_logits"].numpy()
    assert_follows(context, prompt_of(vlm, case), ids, recorded)
