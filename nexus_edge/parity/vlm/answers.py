"""Greedy answers of the PyTorch models, token by token with their cache."""

from collections.abc import Mapping
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


def greedy_check(stage: str, case: str, answer: Answer, expected: Answer, judge: Judge) -> Check:
    """Two answers token by token; see `compare_greedy`."""
    compared = compare_greedy(answer.ids, expected.ids, expected.margins, judge.near_tie(stage))
    where = "" if compared.first_difference is None else f", first difference at {compared.first_difference}"
    return Check(stage, f"{len(expected.ids)} tokens{where}", case, compared.measures, judge.gate(stage))
