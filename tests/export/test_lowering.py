"""Attention over a cache, with a window and with LongRoPE's long list, against what the original recorded."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from golden_phi3 import Case
from torch import Tensor

pytestmark = pytest.mark.slow

NOISE = 1e-5  # of the largest logit: float32 sums in another order, see tests/models/test_phi3_v_stages.py
Sessions = Callable[[str], onnxruntime.InferenceSession]


def run(
    session: onnxruntime.InferenceSession, embeds: Tensor, mask: Tensor, past: list[np.ndarray]
) -> list[np.ndarray]:
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, (embeds.numpy(), mask.numpy(), *past), strict=True)))


def empty_past(batch: int) -> list[np.ndarray]:
    return [np.zeros((batch, 4, 0, 24), np.float32)] * 6


@pytest.mark.parametrize(
    ("name", "file"), [("text_sliding", "config_sliding20.json"), ("text_long_factors", "config_omp64.json")]
)
def test_prompt_and_greedy_steps(name: str, file: str, decoder_session: Sessions) -> None:
    session, case, recorded = decoder_session(file), Case(name), Case(name).stages
    embeds, mask = case.model.model.embed(case.input_ids, torch.zeros(0, 96)).detach(), case.attention_mask
    logits, *past = run(session, embeds, mask, empty_past(1))
    steps = [logits[0, 0]]
    for id_ in recorded["decode_ids"][:-1]:
        embeds = case.model.model.embed(id_.view(1, 1), torch.zeros(0, 96)).detach()
        mask = torch.cat((mask, torch.ones(1, 1, dtype=torch.int64)), dim=1)
        logits, *past = run(session, embeds, mask, past)
        steps.append(logits[0, 0])
    expected = recorded["decode_logits"]
    assert (torch.from_numpy(np.stack(steps)) - expected).abs().max() <= NOISE * expected.abs().max()
    for grown, stage in zip(past[:2], ("kcache_layer0", "vcache_layer0"), strict=True):
        held, expected = torch.from_numpy(grown)[:, :, recorded["rows"]], recorded[stage]
        assert (held - expected).abs().max() <= NOISE * expected.abs().max()


def test_the_window_makes_a_difference() -> None:
    """Else the test above would prove nothing about it."""
    assert (Case("text").stages["logits"] - Case("text_sliding").stages["logits"])[:, -1].abs().max() > 0.1
