"""Questions about images that a checkpoint was never trained on, which it brings in its folder, or does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nexus_edge.assets.heldout import HeldOutQuestion, held_out_questions
from nexus_edge.interfaces.host import VlmHost
from nexus_edge.interfaces.parity import Turn
from nexus_edge.parity.metrics import Array
from nexus_edge.processing import Processor
from nexus_edge.processing.images import load_image

if TYPE_CHECKING:
    from torch import Tensor

    from nexus_edge.models.base import ReferenceModel

FOLDER = "heldout"
FILE = "questions.json"


@dataclass(frozen=True)
class Questions:
    """One image with the token ids of its questions and answers.

    Attributes:
        inputs: of the image, with the ids up to and including its last image token
        tails: for each question the ids after the image, the answer and its end token included
        answers: how many of each tail's last ids are the answer
    """

    inputs: dict[str, Any]
    tails: list[NDArray[np.int64]]
    answers: list[int]


@dataclass(frozen=True)
class Answers:
    """What a model predicts where answers stand: logits [answer tokens of all questions, vocab], the true ids there,
    and for each question whether every token is the model's own first choice.

    That is exact match of greedy decoding: up to its first wrong token a greedy answer is the true one.
    """

    logits: Array
    targets: NDArray[np.int64]
    exact: list[bool]


def read_questions(folder: Path, processor: Processor, host: VlmHost, turn: Turn, images: int) -> list[Questions]:
    """The first `images` of a checkpoint's held-out set; empty where it has none."""
    if not (folder / FOLDER / FILE).is_file():
        return []
    by_image = groupby(held_out_questions(folder=folder / FOLDER), key=lambda question: question.image)
    return [_questions(file, list(asked), processor, host, turn) for file, asked in islice(by_image, images)]


def _questions(
    file: Path, asked: Sequence[HeldOutQuestion], processor: Processor, host: VlmHost, turn: Turn
) -> Questions:
    image = load_image(file)
    written = [turn.question.replace("{}", entry.question) for entry in asked]
    made = processor(turn.image + written[0], [image])
    inputs: dict[str, Any] = dict(made)
    first = inputs["input_ids"]
    after = int(np.flatnonzero(host.prompt(made).is_image)[-1]) + 1
    answers = [np.array(processor.encode(entry.answer + turn.end, add_bos=False)) for entry in asked]
    questions = [processor.encode(text) for text in written]
    tails = [np.concatenate((question, answer)) for question, answer in zip(questions, answers, strict=True)]
    inputs = {name: inputs[name] for name in ("pixel_values", "image_sizes")} | {"input_ids": first[:, :after]}
    return Questions(inputs, tails, [len(answer) for answer in answers])


def answer_all(model: "ReferenceModel", held_out: Sequence[Questions]) -> Answers:
    """Run every question once followed by its true answer; the image's part is computed once for its questions."""
    logits, targets, exact = [], [], []
    for questions in held_out:
        for tail, count, predicted in zip(
            questions.tails, questions.answers, _predictions(model, questions), strict=True
        ):
            rows = predicted[len(tail) - count - 1 : len(tail) - 1].numpy()
            logits.append(rows)
            targets.append(tail[-count:])
            exact.append(bool((rows.argmax(-1) == tail[-count:]).all()))
    return Answers(np.concatenate(logits), np.concatenate(targets), exact)


def _predictions(model: "ReferenceModel", questions: Questions) -> "Tensor":
    """Logits [questions, longest tail, vocab] after the image; tails are padded on the right, where none looks."""
    import torch

    from nexus_edge.layers.kv_cache import KVCache

    module: Any = model
    count, longest = len(questions.tails), max(len(tail) for tail in questions.tails)
    ids, mask = (torch.zeros(count, longest, dtype=torch.int64) for _ in range(2))
    for row, tail in enumerate(questions.tails):
        ids[row, : len(tail)], mask[row, : len(tail)] = torch.from_numpy(tail), 1
    cache = KVCache()
    with torch.inference_mode():
        module(**{name: torch.from_numpy(np.array(value)) for name, value in questions.inputs.items()}, cache=cache)
        assert cache.inputs_embeds is not None and cache.attention_mask is not None
        cache.layers = [(key.expand(count, -1, -1, -1), value.expand(count, -1, -1, -1)) for key, value in cache.layers]
        cache.inputs_embeds = cache.inputs_embeds.expand(count, -1, -1)
        seen = cache.attention_mask.expand(count, -1)
        predicted: Tensor = module(ids, attention_mask=torch.cat((seen, mask), dim=1), cache=cache)
    return predicted
