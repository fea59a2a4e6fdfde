"""Both forms of cached attention, with and without a window, against what the original recorded."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from golden_phi3 import Case
from torch import Tensor

from nexus_edge.export.onnx.lowering import CachedAttention

NOISE = 1e-5  # of the largest logit: float32 sums in another order, see tests/models/test_phi3_v_stages.py
GROUP_QUERY, STANDARD = CachedAttention.GROUP_QUERY, CachedAttention.STANDARD
Sessions = Callable[[str, CachedAttention], onnxruntime.InferenceSession]


def run(
    session: onnxruntime.InferenceSession, embeds: Tensor, mask: Tensor, past: list[np.ndarray]
) -> list[np.ndarray]:
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, (embeds.numpy(), mask.numpy(), *past), strict=True)))


def empty_past(batch: int) -> list[np.ndarray]:
    return [np.zeros((batch, 4, 0, 24), np.float32)] * 6


@pytest.mark.parametrize(
    ("name", "file", "attention"),
    [
        ("text", "config.json", STANDARD),
        ("text_sliding", "config_sliding20.json", GROUP_QUERY),
        ("text_sliding", "config_sliding20.json", STANDARD),
        ("text_long_factors", "config_omp64.json", GROUP_QUERY),
    ],
)
def test_prompt_and_greedy_steps(name: str, file: str, attention: CachedAttention, decoder_session: Sessions) -> None:
    session, case, recorded = decoder_session(file, attention), Case(name), Case(name).stages
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


def test_the_standard_form_takes_padding_on_the_left(decoder_session: Sessions) -> None:
    case = Case("text_leftpad")
    embeds = case.model.model.embed(case.input_ids, torch.zeros(0, 96)).detach()
    logits, *_ = run(decoder_session("config.json", STANDARD), embeds, case.attention_mask, empty_past(2))
    expected = case.stages["logits"][:, -1:]
    assert case.attention_mask[1, 0] == 0
    assert (torch.from_numpy(logits) - expected).abs().max() <= NOISE * expected.abs().max()


def test_several_tokens_after_a_past_in_a_batch(decoder_session: Sessions) -> None:
    """GroupQueryAttention of ONNX Runtime refuses this; the standard form must not."""
    embeds = torch.randn(3, 20, 96, generator=torch.Generator().manual_seed(0))
    session, ones = decoder_session("config_sliding20.json", STANDARD), torch.ones(3, 20, dtype=torch.int64)
    whole = run(session, embeds, ones, empty_past(3))
    _, *past = run(session, embeds[:, :12], ones[:, :12], empty_past(3))
    for actual, expected in zip(run(session, embeds[:, 12:], ones, past), whole, strict=True):
        assert np.abs(actual - expected).max() <= NOISE * np.abs(expected).max()
