"""A user's questions: exact match of greedy answers, of full precision in PyTorch and of the bundle in the runtime."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nexus_edge.eval_file import Example
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.rungs.own_data import in_words
from nexus_edge.parity.sources import scheme_class
from nexus_edge.parity.vlm.answers import torch_answer
from nexus_edge.processing import Processor, from_checkpoint

if TYPE_CHECKING:
    from nexus_edge.parity.vlm.lab import VlmLab
    from nexus_edge.runtimes import VLM

STAGE = "own questions"
SPARE = 8  # tokens that an answer may be longer than the longest right one: then it is wrong, whatever follows


def compare_examples(lab: "VlmLab", target: str) -> list[Check]:
    """One check: what was lost of what full precision answers as the user does."""
    from nexus_edge.runtimes import EngineOptions, load_vlm

    vlm, most = load_vlm(lab.only(target), EngineOptions(engine=target)), longest(lab.processor, lab.examples)
    theirs = lab.own_answers(vlm, most)
    ours = [
        is_right("".join(vlm.generate(example.question, example.images, max_new_tokens=most)), example)
        for example in lab.examples
    ]
    lab.note(in_words(target, ours, theirs))
    count = len(ours)
    share, reference = sum(ours) / count, sum(theirs) / count
    measures = {
        "exact_match": share,
        "exact_match_reference": reference,
        "exact_match_drop": max(0.0, reference - share),
        "items": float(count),
    }
    gate = lab.gate("eval", scheme_class(lab.manifest), target)(STAGE)
    return [Check(STAGE, f"{count} questions", "own data", measures, gate)]


def full_answers(lab: "VlmLab", vlm: "VLM", most: int) -> list[bool]:
    """Whether full precision answers each example right; with the checkpoint's own processor.

    Raises:
        NotRunError: there is no checkpoint, or it does not fit
    """
    folder = lab.source.folder
    model, processor = lab.full, lab.processor if folder is None else from_checkpoint(folder)
    right = []
    for example in lab.examples:
        inputs = processor(vlm.wrap(example.question, len(example.images)), list(example.images))
        ids = torch_answer(model, inputs, processor.stop_ids, most).ids
        right.append(is_right(processor.decode([id_ for id_ in ids if id_ not in processor.stop_ids]), example))
    return right


def longest(processor: Processor, examples: Sequence[Example]) -> int:
    """Tokens that an answer may take."""
    answers = (answer for example in examples for answer in example.answers)
    return max(len(processor.encode(answer, add_bos=False)) for answer in answers) + SPARE


def is_right(text: str, example: Example) -> bool:
    """Whether it is one of the right answers, whatever its case, spaces, and a full stop at its end."""
    return normal(text) in {normal(answer) for answer in example.answers}


def normal(text: str) -> str:
    """What two answers are compared by."""
    return " ".join(text.casefold().split()).removesuffix(".")
