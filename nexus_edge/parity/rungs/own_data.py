"""The rung of a user's own examples: how many are right in full precision, and how many in the bundle.

It asks for more than the ladder's own cases: these answers are somebody's, so that a configuration which all rungs read
wrongly together shows as well, in both numbers. What gates is what the bundle lost.
"""

from collections.abc import Sequence
from pathlib import Path

from nexus_edge.errors import InputError
from nexus_edge.eval_file import Example, read_examples
from nexus_edge.parity.intervals import wilson
from nexus_edge.parity.per_target import for_each_target
from nexus_edge.parity.references import GB
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.run import ParityRun

NAME = "eval"
TITLE = "own data: right answers in full precision and in the bundle"


def judge(run: ParityRun) -> list[Check]:
    """One check for each target."""
    return for_each_target(run, lambda target: run.kind.compare_examples(run, target))


def add_examples(run: ParityRun, examples: tuple[Example, ...]) -> None:
    """Have a run judge a user's examples after its rungs.

    Full precision answers them as a whole model in PyTorch. Layers that come one by one would have to come again for
    each token of its answers, and what a prompt leaves for the next token (0.8 MB a token of Phi-3-Vision, 2 GB for an
    image of 16 crops) would have to wait on disk for every example at once.

    Raises:
        InputError: it and the runtime do not fit, which is said before the first rung and not after the last
    """
    if not isinstance(run.checkpoint, str):
        needed, allowed = run.references.bytes_beside_runtime, run.memory.bytes
        if needed > allowed:
            raise InputError(
                f"--eval: full precision in PyTorch beside the runtime takes {needed / GB:.1f} GB, allowed are "
                f"{allowed / GB:.1f} GB; leave --eval out, or allow more with --max-memory"
            )
    run.examples = examples


def read(path: Path, *, answers: bool) -> tuple[Example, ...]:
    """A file of examples, of which each says what is right and each image can be read.

    Args:
        path: see `nexus_edge.eval_file`
        answers: for a model that answers; else for one that labels images

    Raises:
        InputError: naming the file and the line.
    """
    examples = read_examples(path, "question" if answers else "label")
    for example in examples:
        if answers and not example.answers:
            raise InputError(f"{path}: {example.name}: has no answers; a gate needs to know what is right")
    if not answers and len({example.label for example in examples}) < 2:
        raise InputError(f"{path}: has only one label, {examples[0].label!r:.60}; a choice needs two")
    return examples


def in_words(target: str, ours: Sequence[bool], theirs: Sequence[bool]) -> str:
    """Both numbers with their intervals, and which examples changed sides.

    Args:
        target: whose answers these are
        ours, theirs: for each example whether the bundle's, and full precision's, is right
    """
    lost = sum(full and not here for here, full in zip(ours, theirs, strict=True))
    won = sum(here and not full for here, full in zip(ours, theirs, strict=True))
    told = f"{target}: {_share(ours)} right in the bundle, {_share(theirs)} in full precision; {lost} lost, {won} won."
    nothing = "" if any(theirs) else " Full precision has none right, so there was nothing to lose."
    return f"{told}{nothing} Intervals are Wilson's, of 95 %"


def _share(right: Sequence[bool]) -> str:
    low, high = wilson(sum(right) / len(right), len(right))
    return f"{sum(right)} of {len(right)} ({low:.1%} to {high:.1%})"
