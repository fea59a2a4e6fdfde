"""Which tokens the options leave, and with which probability: as transformers' logits processors have it."""

import numpy as np
import pytest
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from nexus_edge.runtimes.vlm.sampling import Sampler

VOCAB, DRAWS = 40, 4000
SEEN = np.array([3, 17, 3, 29], np.int64)

CASES = [
    {"top_k": 5},
    {"top_k": 1},
    {"top_k": 500},
    {"min_p": 0.2},
    {"min_p": 1.0},
    {"top_p": 0.7, "top_k": 10},
    {"top_p": 0.9, "min_p": 0.05, "top_k": 20},
    {"repetition_penalty": 3.0},
    {"repetition_penalty": 0.5, "top_k": 6, "temperature": 0.7},
    {"repetition_penalty": 1.7, "top_p": 0.8, "min_p": 0.1, "top_k": 12, "temperature": 1.8},
]


def expected(logits: np.ndarray, options: dict[str, float]) -> np.ndarray:
    """Probabilities [vocab] after the processors, in the order in which transformers' `generate` builds their list."""
    order = [
        RepetitionPenaltyLogitsProcessor(options.get("repetition_penalty", 1.0)),
        TemperatureLogitsWarper(options.get("temperature", 1.0)),
        TopKLogitsWarper(int(options.get("top_k", 0)) or VOCAB),
        TopPLogitsWarper(options.get("top_p", 1.0)),
        MinPLogitsWarper(options.get("min_p", 0.0)),
    ]
    ids = torch.from_numpy(SEEN)[None]
    scores = LogitsProcessorList(order)(ids, torch.from_numpy(logits.copy())[None])
    return torch.softmax(scores.double(), -1)[0].numpy()


def sampler(options: dict[str, float], seed: int | None = 0) -> Sampler:
    rest = {name: value for name, value in options.items() if name not in ("temperature", "top_p")}
    made = Sampler(options.get("temperature", 1.0), options.get("top_p", 1.0), seed, **rest)  # type: ignore[arg-type]
    made.see(SEEN)
    return made


@pytest.mark.parametrize("options", CASES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_the_distribution(options: dict[str, float], seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, VOCAB).astype(np.float32)
    drawn = sampler(options, seed)
    shares, seen = np.zeros(VOCAB), set(drawn._seen)
    for _ in range(DRAWS):
        shares[drawn.pick(logits)] += 1 / DRAWS
        drawn._seen = set(seen)  # each draw is the first after the prompt
    probabilities = expected(logits, options)
    assert not shares[probabilities == 0].any(), "a token was drawn that the filters take away"
    # Five standard deviations of a share: 120 million to one for each of 40 tokens, and the seed is fixed.
    bound = 5 * np.sqrt(probabilities * (1 - probabilities) / DRAWS) + 1e-9
    assert (np.abs(shares - probabilities) <= bound).all()


def test_ties_at_the_last_of_top_k_stay() -> None:
    drawn = Sampler(1.0, 1.0, 0, top_k=2)
    assert {drawn.pick(np.float32([0, 1, 2, 1])) for _ in range(200)} == {1, 2, 3}


def test_a_penalty_changes_what_is_greedy_and_counts_the_answers_own_tokens() -> None:
    greedy = Sampler(0.0, 1.0, None, repetition_penalty=2.0)
    logits = np.float32([4.0, 3.0, -1.0])
    assert [greedy.pick(logits) for _ in range(3)] == [0, 1, 0]
    below = Sampler(0.0, 1.0, None, repetition_penalty=2.0)
    below.see(np.array([0], np.int64))
    assert below.pick(np.float32([-1.0, -1.5])) == 1, "a logit below 0 is multiplied"


@pytest.mark.parametrize("top_p", [0.3, 0.9, 1.0])
def test_draws_of_a_seed_are_what_they_were(top_p: float) -> None:
    """The options that were there first draw as before the others came: this is how they drew, written out again."""
    logits = np.random.default_rng(9).normal(0, 3, 200).astype(np.float32)
    random, drawn = np.random.default_rng(4), Sampler(0.8, top_p, 4)
    for _ in range(100):
        weights = np.exp((logits.astype(np.float64) - float(logits.max())) / 0.8)
        order = np.argsort(-weights, kind="stable")
        cumulative = np.cumsum(weights[order])
        kept = int(np.searchsorted(cumulative, top_p * cumulative[-1])) + 1
        place = int(np.searchsorted(cumulative[:kept], random.random() * cumulative[kept - 1], side="right"))
        assert drawn.pick(logits) == order[min(place, kept - 1)]
