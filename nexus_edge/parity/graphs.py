"""P2 and P3 ask one question, of two pairs: does this graph compute what this PyTorch model computes?"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nexus_edge.errors import ParityError
from nexus_edge.parity.lab import Lab
from nexus_edge.parity.report import CARRIED, Check
from nexus_edge.parity.runners import Counterpart, runner_of
from nexus_edge.parity.stages import Judge, Step

if TYPE_CHECKING:
    from nexus_edge.models.base import ReferenceModel


def compare_graphs(
    lab: Lab,
    model: "ReferenceModel",
    target: str,
    files: Mapping[str, Path],
    judge: Callable[[str], Judge],
) -> list[Check]:
    """Every graph on the inputs that the PyTorch model gave it, so that one graph's error is not blamed on the next.

    Args:
        lab: whose cases run through the model
        model: with data
        target: whose graphs they are
        files: graph of the target -> its file, in the order in which a case runs through them
        judge: from the name of a graph of the model's split

    Returns:
        checks, graph by graph
    """
    counterparts = runner_of(target).counterparts(files)
    steps: dict[str, list[Step]] = defaultdict(list)
    for step in lab.steps(model):
        steps[step.graph].append(step)
    checks: list[Check] = []
    for counterpart in counterparts:
        checks += _isolated(counterpart, steps[counterpart.graph], judge(counterpart.graph))
    for counterpart in counterparts:
        checks += _carried(counterpart, steps[counterpart.graph])
    return checks


def _isolated(counterpart: Counterpart, steps: list[Step], judge: Judge) -> list[Check]:
    """Each layer on the reference's residual stream: gated."""
    name = counterpart.name
    try:
        stage = counterpart.open("cut")
    except ParityError as error:
        return [Check(name, "graph", "load", problem=str(error))]
    checks: list[Check] = []
    for step in steps:
        try:
            actual = stage.run({**step.expected, **step.inputs})
        except ParityError as error:
            checks.append(Check(name, "graph", step.case, problem=str(error)))
        else:
            checks += judge.check(name, step.case, actual, step.expected)
    return checks


def _carried(counterpart: Counterpart, steps: list[Step]) -> list[Check]:
    """Each layer on what the layer before it made: shows how errors add up, and is reported only.

    What it says is gated elsewhere: single layers above, the whole way in P5.
    """
    judge = Judge(lambda stage: None, lambda stage: 0.0)
    checks: list[Check] = []
    try:
        stage = counterpart.open("visible")
        for step in steps:
            actual = stage.run(step.inputs)
            expected = {name: step.expected[name] for name in actual if name in step.expected}
            checks += judge.check(counterpart.name + CARRIED, step.case, actual, expected)
    except ParityError:
        return []  # a graph that does not run has failed above
    return checks
