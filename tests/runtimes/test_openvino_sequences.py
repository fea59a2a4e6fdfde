"""Sequences on one compiled decoder, whose calls come in turn: each has its own cache, on the CPU and as on a GPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.engines.openvino.decoder import stateful_decoders
from nexus_edge.engines.openvino.engine import DECODER
from nexus_edge.engines.openvino.paged_decoder import paged_decoders
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.interfaces.engine import Positions

NOISE = 1e-5  # of the largest logit: float32 sums in another order, as in test_openvino_engine.py
TOKENS, PART = 40, 8


def at(start: int, stop: int) -> Positions:
    return Positions(np.arange(start, stop, dtype=np.int64)[None], TOKENS)


@pytest.mark.parametrize("load", [stateful_decoders, paged_decoders])
def test_parts_in_turn(tiny_openvino: Bundle, load: Callable[..., Callable[[], Any]]) -> None:
    hidden = tiny_openvino.manifest.graphs["openvino"][DECODER].inputs[0].shape[2]
    draw = np.random.default_rng(0)
    prompts = [draw.standard_normal((TOKENS, hidden), np.float32) for _ in range(2)]
    new = load(tiny_openvino.graph("openvino", DECODER), OpenVinoSettings("f32", 0, "f32"), 1)
    expected = [new().extend(prompt, 0, at(0, TOKENS)).copy() for prompt in prompts]
    bound = NOISE * np.abs(expected).max()
    assert np.abs(expected[0] - expected[1]).max() > 1000 * bound
    decoders = [new() for _ in prompts]
    for start in range(0, TOKENS, PART):
        found = [
            decoder.extend(prompt[start : start + PART], start, at(start, start + PART)).copy()
            for decoder, prompt in zip(decoders, prompts, strict=True)
        ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)
