"""Decoding with a cache equals one run over everything, also where a conversation crosses LongRoPE's limit."""

from collections.abc import Sequence

import golden_phi3
import pytest
import torch
from golden_phi3 import CASES, Case
from torch import Tensor

from nexus_edge.layers.kv_cache import KVCache

pytestmark = pytest.mark.slow

# Of the largest logit (about 10): float32 sums in another order, as in test_phi3_v_stages.py.
NOISE = 1e-5
SHORT_LIMIT = "config_omp64.json"  # LongRoPE changes its list after 64 tokens
GREEDY = [name for name in CASES if "decode_ids" in Case(name).stages and name not in ("text_cross", "text_bf16")]


def follow(case: Case, ids: Tensor) -> Tensor:
    """Logits [steps, vocab]: after the prompt, then after each of `ids` but the last, one at a time."""
    cache = KVCache()
    with torch.inference_mode():
        prompt = case.model(case.input_ids, case.pixel_values, case.image_sizes, cache=cache)
        rest = [case.model(id_.view(1, 1), cache=cache) for id_ in ids[:-1]]
    return torch.cat([prompt[:, -1:], *rest], dim=1)[0]


def assert_same_steps(logits: Tensor, recorded: Tensor, ids: Tensor, noise: float = NOISE) -> None:
    bound = noise * recorded.abs().max()
    assert (logits - recorded).abs().max() <= bound
    best = recorded.topk(2).values
    clear = best[:, 0] - best[:, 1] > 2 * bound  # two candidates closer than this may change places
    assert clear.any()
    assert torch.equal(logits.argmax(-1)[clear], ids[clear])


@pytest.mark.parametrize("name", GREEDY)
def test_greedy_steps(name: str) -> None:
    recorded = Case(name).stages
    logits = follow(Case(name), recorded["decode_ids"])
    assert_same_steps(logits, recorded["decode_logits"], recorded["decode_ids"])


def test_greedy_steps_in_bf16() -> None:
    """Against the float32 run, for steps with the same past; see test_bf16 of the stages for the bound."""
    bf16, exact = Case("text_bf16").stages, Case("text").stages
    same = int((bf16["decode_ids"] == exact["decode_ids"]).cumprod(0).sum())
    assert same >= 4
    logits = follow(Case("text_bf16"), bf16["decode_ids"])
    noise = (bf16["decode_logits"] - exact["decode_logits"])[: same + 1].square().mean().sqrt()
    assert (logits - exact["decode_logits"])[: same + 1].square().mean().sqrt() <= 1.1 * noise


def test_crossing_the_limit_equals_a_full_recompute() -> None:
    case, recorded = Case("text_cross"), Case("text_cross").stages
    ids = recorded["full_recompute_greedy_ids"]
    assert_same_steps(follow(case, ids), recorded["full_recompute_greedy_logits"], ids)


def test_crossing_the_limit_is_where_the_original_is_wrong() -> None:
    """The original keeps keys that were rotated with the short list. On its own tokens we get what it would have got
    from a recompute; up to the crossing the two agree, after it they do not."""
    case, recorded = Case("text_cross"), Case("text_cross").stages
    logits = follow(case, recorded["decode_ids"])
    assert_same_steps(logits, recorded["full_recompute_logits"], recorded["full_recompute_argmax"])
    before = case.model.params.rope.original_max_position_embeddings - case.input_ids.shape[1] + 1
    bound = NOISE * recorded["decode_logits"].abs().max()
    apart = (logits - recorded["decode_logits"]).abs().amax(-1)
    assert before == 6
    assert (apart[:before] <= bound).all()
    assert (apart[before:] > 1000 * bound).all()


def random_ids(batch: int, tokens: int) -> Tensor:
    return torch.randint(0, 512, (batch, tokens), generator=torch.Generator().manual_seed(tokens))


def in_pieces(file: str, ids: Tensor, sizes: Sequence[int]) -> tuple[Tensor, KVCache]:
    model, cache = golden_phi3.model(file), KVCache()
    with torch.inference_mode():
        parts = [model(piece, cache=cache) for piece in ids.split(list(sizes), dim=1)]
    return parts[-1], cache


@pytest.mark.parametrize(
    ("file", "sizes"),
    [
        pytest.param("config.json", (10, 20), id="continuation"),
        pytest.param("config.json", (10, 1, 7, 1, 11), id="several turns"),
        pytest.param("config_sliding20.json", (15, 15, 10), id="window"),
        pytest.param(SHORT_LIMIT, (50, 14), id="up to the limit"),
        pytest.param(SHORT_LIMIT, (50, 30), id="a turn crosses the limit"),
        pytest.param(SHORT_LIMIT, (64, 1), id="one token crosses the limit"),
        pytest.param(SHORT_LIMIT, (70, 20), id="long from the start"),
        pytest.param(SHORT_LIMIT, (50, 30, 5, 1), id="turns after the crossing"),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_continuation_equals_one_run(file: str, sizes: tuple[int, ...], batch: int) -> None:
    ids = random_ids(batch, sum(sizes))
    continued, cache = in_pieces(file, ids, sizes)
    whole, fresh = in_pieces(file, ids, (sum(sizes),))
    assert continued.shape == (batch, sizes[-1], 512)
    assert (continued - whole[:, -sizes[-1] :]).abs().max() <= NOISE * whole.abs().max()
    assert cache.length == fresh.length == sum(sizes)
    for grown, made in zip(cache.layers, fresh.layers, strict=True):
        for part, expected in zip(grown, made, strict=True):
            assert (part - expected).abs().max() <= NOISE * expected.abs().max()


def test_a_batch_is_its_sequences() -> None:
    ids = random_ids(4, 33)
    together, _ = in_pieces("config.json", ids, (33,))
    apart = torch.cat([in_pieces("config.json", row[None], (33,))[0] for row in ids])
    assert (together - apart).abs().max() <= NOISE * apart.abs().max()


@pytest.mark.parametrize("file", ["config.json", SHORT_LIMIT])
def test_padding_on_the_left_changes_nothing(file: str) -> None:
    """Over several calls, and also while the longer sequence crosses LongRoPE's limit: the list that it needs is then
    used for the whole batch, as the original does."""
    model, ids, cache = golden_phi3.model(file), random_ids(2, 66), KVCache()
    mask = torch.ones_like(ids)
    mask[1, :20] = 0
    with torch.inference_mode():
        for tokens in (60, 63, 64, 65, 66):
            logits = model(ids[:, cache.length : tokens], attention_mask=mask[:, :tokens], cache=cache)
    expected = torch.cat((alone(file, ids[:1], 66), alone(file, ids[1:, 20:], 66)))
    assert (logits[:, -1] - expected).abs().max() <= NOISE * expected.abs().max()


def alone(file: str, ids: Tensor, length: int) -> Tensor:
    """Logits [1, vocab] after one sequence, with the list of frequencies for sequences of `length` tokens."""
    model, positions = golden_phi3.model(file), torch.arange(ids.shape[1])[None]
    with torch.inference_mode():
        embeds = model.model.embed(ids, model.image_features(None, None))
        past = model.empty_past(embeds)
        hidden, _ = model.decode(embeds, positions, torch.tensor(length), torch.ones_like(ids), past)
        return model.lm_head(hidden[:, -1])
