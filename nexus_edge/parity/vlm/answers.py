"""Greedy answers: of a model that fits into memory token by token with its cache, of others up to where they part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nexus_edge.parity.metrics import Array, compare_greedy, top2_margin
from nexus_edge.parity.report import Check
from nexus_edge.parity.stages import Judge

if TYPE_CHECKING:
    from nexus_edge.models.base import ReferenceModel

NEW_TOKENS = 12


@dataclass(frozen=True)
class Answer:
    """Greedy tokens up to a stop id, `top2_margin` at each, and the logits [vocab] at the first."""

    ids: list[int]
    margins: list[float]
    first_logits: Array


def torch_answer(
    model: "ReferenceModel", inputs: Mapping[str, Any], stop_ids: tuple[int, ...], most: int = NEW_TOKENS
) -> Answer:
    """What `model` answers to the arrays of one prompt, in at most `most` tokens."""
    import torch

    from nexus_edge.models.phi3_v import KVCache

    module: Any = model
    feeds = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items() if name != "attention_mask"}
    cache, first = KVCache(), np.zeros(0)
    ids: list[int] = []
    margins: list[float] = []
    with torch.inference_mode():
        while len(ids) < most and not (ids and ids[-1] in stop_ids):
            logits = module(**feeds, cache=cache)[0, -1].numpy()
            first = first if ids else logits
            ids.append(int(logits.argmax()))
            margins.append(float(top2_margin(logits)))
            feeds = {"input_ids": torch.tensor([[ids[-1]]])}
    return Answer(ids, margins, first)


def up_to_difference(own: Answer, other: Sequence[int]) -> Answer:
    """What a model said by itself of `own`, which it was led through along the tokens of `other`: all up to the first
    token where the two part, that one included."""
    same = [mine == theirs for mine, theirs in zip(own.ids, other, strict=True)]
    stop = same.index(False) + 1 if False in same else len(same)
    return Answer(own.ids[:stop], own.margins[:stop], own.first_logits)


def greedy_check(stage: str, case: str, answer: Answer, expected: Answer, judge: Judge) -> Check:
    """Two answers token by token; see `compare_greedy`."""
    compared = compare_greedy(answer.ids, expected.ids, expected.margins, judge.near_tie(stage))
    where = "" if compared.first_difference is None else f", first difference at {compared.first_difference}"
    return Check(stage, f"{len(expected.ids)} tokens{where}", case, compared.measures, judge.gate(stage))
