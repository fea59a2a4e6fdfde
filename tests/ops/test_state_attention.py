"""Attention over caches of fixed length against attention over growing ones, which other tests hold to originals."""

import pytest
import torch

from nexus_edge.ops.attention import cached_attention
from nexus_edge.ops.state_attention import state_attention

NOISE = 1e-5  # the same sums of float32 in another order
HEADS, HEAD_DIM, CONTEXT = 4, 8, 16
MASKED = -30000.0


def bias_of(position: int, tokens: int) -> torch.Tensor:
    row = torch.arange(position, position + tokens).unsqueeze(1)
    return (torch.arange(CONTEXT) > row).float()[None, None] * MASKED


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_pieces_of_a_prompt_see_what_they_see_in_a_growing_cache(kv_heads: int) -> None:
    torch.manual_seed(2)
    caches = [torch.randn(1, kv_heads, CONTEXT, HEAD_DIM) for _ in range(2)]  # what was there must not be seen
    past = [torch.zeros(1, kv_heads, 0, HEAD_DIM)] * 2
    position = 0
    for tokens in (5, 1, 3, 1):
        query = torch.randn(1, tokens, HEADS * HEAD_DIM)
        key, value = (torch.randn(1, tokens, kv_heads * HEAD_DIM) for _ in range(2))
        mask = torch.ones(1, position + tokens, dtype=torch.int64)
        right, *past = cached_attention(query, key, value, *past, mask, HEADS, kv_heads, -1)
        place = torch.tensor([position], dtype=torch.int32)
        context, *caches = state_attention(
            query, key, value, *caches, place, bias_of(position, tokens), HEADS, kv_heads
        )
        torch.testing.assert_close(context, right, rtol=NOISE, atol=NOISE)
        position += tokens
    for cache, grown in zip(caches, past, strict=True):
        assert torch.equal(cache[:, :, :position], grown)


def test_what_is_behind_the_last_token_of_a_call_is_overwritten_by_the_next() -> None:
    torch.manual_seed(3)
    caches = [torch.zeros(1, HEADS, CONTEXT, HEAD_DIM) for _ in range(2)]
    rows = [torch.randn(1, 4, HEADS * HEAD_DIM) for _ in range(3)]
    first = torch.tensor([0], dtype=torch.int32)
    _, *caches = state_attention(*rows, *caches, first, bias_of(0, 4), HEADS, HEADS)
    one = [row[:, 2:3] for row in rows]  # only two of the four rows were tokens: the third comes again
    second = torch.tensor([2], dtype=torch.int32)
    context, *_ = state_attention(*one, *caches, second, bias_of(2, 1), HEADS, HEADS)
    whole, *_ = state_attention(*rows, *caches, first, bias_of(0, 4), HEADS, HEADS)
    torch.testing.assert_close(context, whole[:, 2:3], rtol=NOISE, atol=NOISE)
