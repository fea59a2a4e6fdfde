"""A user's questions: exact match of greedy answers, of full precision in PyTorch and of the bundle in the runtime."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nexus_edge.eval_file import Example
from nexus_edge.parity.per_target import only
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.rungs.own_data import in_words
from nexus_edge.parity.sources import scheme_class
from nexus_edge.parity.vlm.answers import torch_answer
from nexus_edge.parity.vlm.run import VlmRun, vlm_run
from nexus_edge.processing import Processor

if TYPE_CHECKING:
    from nexus_edge.runtimes import VLM

STAGE = "own questions"
SPARE = 8  # tokens that an answer may be longer than the longest right one: then it is wrong, whatever follows


def compare_examples(run: ParityRun, target: str) -> list[Check]:
    """One check: what was lost of what full precision answers as the user does."""
    from nexus_edge.runtimes import EngineOptions, load_vlm

    vlm, runtime = vlm_run(run), load_vlm(only(run.bundle, target), EngineOptions(engine=target))
    most = longest(vlm.processor, run.examples)
    if vlm.own_right is None:
        vlm.own_right = full_answers(vlm, runtime, most)
    theirs = vlm.own_right
    ours = [
        is_right("".join(runtime.generate(example.question, example.images, max_new_tokens=most)), example)
        for example in run.examples
    ]
    run.note(in_words(target, ours, theirs))
    count = len(ours)
    share, reference = sum(ours) / count, sum(theirs) / count
    measures = {
        "exact_match": share,
        "exact_match_reference": reference,
        "exact_match_drop": max(0.0, reference - share),
        "items": float(count),
    }
    gate = run.judges.gate("eval", scheme_class(run.manifest), target)(STAGE)
    return [Check(STAGE, f"{count} questions", "own data", measures, gate)]


def full_answers(vlm: VlmRun, runtime: "VLM", most: int) -> list[bool]:
    """Whether full precision answers each example right; with the checkpoint's own processor.

    Raises:
        NotRunError: there is no checkpoint, or it does not fit
    """
    model, processor = vlm.run.references.full, vlm.original_processor or vlm.processor
    right = []
    for example in vlm.run.examples:
        inputs = processor(runtime.wrap(example.question, len(example.images)), list(example.images))
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
