"""Attention over a cache, against the formula written out with loops."""

import math

import pytest
import torch
from torch import Tensor

from nexus_edge.ops.attention import cached_attention
from nexus_edge.ops.rotary import rotary

NOISE = 1e-6  # sums of 30 float32 terms in another order


def by_hand(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor, window: int) -> Tensor:
    """One query [head_dim] over keys and values [tokens, head_dim], the newest of which is its own."""
    scores = keys.double() @ q.double() / math.sqrt(len(q))
    for token in range(len(keys)):
        if not mask[token] or (window >= 0 and len(keys) - 1 - token > window):
            scores[token] = -math.inf
    return (scores.softmax(0) @ values.double()).float()


@pytest.mark.parametrize("window", [-1, 0, 3])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize("past", [0, 5])
def test_cached_attention(heads: int, kv_heads: int, past: int, window: int) -> None:
    generator = torch.Generator().manual_seed(0)
    batch, tokens, dim = 2, 4, 8

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    query = random(batch, tokens, heads * dim)
    key, value = random(batch, tokens, kv_heads * dim), random(batch, tokens, kv_heads * dim)
    past_key, past_value = random(batch, kv_heads, past, dim), random(batch, kv_heads, past, dim)
    mask = torch.ones(batch, past + tokens, dtype=torch.int64)
    mask[1, : 2 if past else 1] = 0
    context, present_key, present_value = cached_attention(
        query, key, value, past_key, past_value, mask, heads, kv_heads, window
    )
    assert torch.equal(present_key[:, :, :past], past_key)
    assert torch.equal(present_value[:, :, past:], value.view(batch, tokens, kv_heads, dim).transpose(1, 2))
    for row in range(batch):
        for token in range(tokens):
            seen = past + token + 1
            if not mask[row, seen - 1]:
                continue  # what a padding token gets is of no interest, except that it is finite
            for head in range(heads):
                pair = head * kv_heads // heads
                expected = by_hand(
                    query[row, token].view(heads, dim)[head],
                    present_key[row, pair, :seen],
                    present_value[row, pair, :seen],
                    mask[row],
                    window,
                )
                actual = context[row, token].view(heads, dim)[head]
                assert (actual - expected).abs().max() <= NOISE * value.abs().max()
    assert context.isfinite().all()


def test_rotary_turns_pairs_of_halves() -> None:
    """Two heads of four channels: channel i and i + 2 turn together, by the angle of their frequency."""
    x = torch.tensor([[[1.0, 0.0, 0.0, 2.0, 3.0, 0.0, 4.0, 0.0]]])
    angles = torch.tensor([math.pi / 2, math.pi])
    y = rotary(x, angles.cos()[None, None], angles.sin()[None, None], 2)
    expected = torch.tensor([[[0.0, 0.0, 1.0, -2.0, -4.0, 0.0, 3.0, 0.0]]])
    assert torch.allclose(y, expected, atol=1e-6)  # cos(pi / 2) is 4e-8 in float32
