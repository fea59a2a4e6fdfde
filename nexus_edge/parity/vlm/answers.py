"""Greedy answers: of a model that fits into memory token by token with its cache, of others up to where they part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nexus_edge.parity.metrics import Array, compare_greedy, scatter, top2_margin
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Judge

if TYPE_CHECKING:
    from nexus_edge.models.base import ReferenceModel

NEW_TOKENS = 12


@dataclass(frozen=True)
class Answer:
    """Greedy tokens up to a stop id, `top2_margin` at each, and the logits [tokens, vocab] that they were chosen by."""

    ids: list[int]
    margins: list[float]
    logits: Array

    @property
    def first_logits(self) -> Array:
        """[vocab]"""
        return self.logits[0]


def torch_answer(
    model: "ReferenceModel", inputs: Mapping[str, Any], stop_ids: tuple[int, ...], most: int = NEW_TOKENS
) -> Answer:
    """What `model` answers to the arrays of one prompt, in at most `most` tokens."""
    import torch

    from nexus_edge.layers.kv_cache import KVCache

    module: Any = model
    feeds = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items() if name != "attention_mask"}
    cache, rows = KVCache(), []
    ids: list[int] = []
    margins: list[float] = []
    with torch.inference_mode():
        while len(ids) < most and not (ids and ids[-1] in stop_ids):
            logits = module(**feeds, cache=cache)[0, -1].numpy()
            rows.append(logits)
            ids.append(int(logits.argmax()))
            margins.append(float(top2_margin(logits)))
            feeds = {"input_ids": torch.tensor([[ids[-1]]])}
    return Answer(ids, margins, np.stack(rows))


def up_to_difference(own: Answer, other: Sequence[int]) -> Answer:
    """What a model said by itself of `own`, which it was led through along the tokens of `other`: all up to the first
    token where the two part, that one included."""
    same = [mine == theirs for mine, theirs in zip(own.ids, other, strict=True)]
    stop = same.index(False) + 1 if False in same else len(same)
    return Answer(own.ids[:stop], own.margins[:stop], own.logits[:stop])


def greedy_check(stage: str, case: str, answer: Answer, expected: Answer, judge: Judge) -> Check:
    """Two answers token by token; see `compare_greedy`.

    What nearly ties follows from the errors of all logits of this answer, up to where the two part.
    """
    margin = judge.near_tie(stage).margin(scatter(*shared_logits(answer, expected)))
    compared = compare_greedy(answer.ids, expected.ids, expected.margins, margin)
    where = "" if compared.first_difference is None else f", first difference at {compared.first_difference}"
    return Check(stage, f"{len(expected.ids)} tokens{where}", case, compared.measures, judge.gate(stage))


def shared_logits(answer: Answer, other: Answer) -> tuple[Array, Array]:
    """Logits of both up to where they part, and of the token at which they do: all that follow the same tokens."""
    parted = next((i for i, (one, two) in enumerate(zip(answer.ids, other.ids, strict=False)) if one != two), None)
    count = min(len(answer.logits), len(other.logits)) if parted is None else parted + 1
    return answer.logits[:count], other.logits[:count]
