"""P2 and P3 ask one question, of two pairs: does this graph compute what this PyTorch model computes?"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nexus_edge.errors import ParityError
from nexus_edge.parity.lab import Lab
from nexus_edge.parity.report import CARRIED, Check
from nexus_edge.parity.runners import Runner, runner_of
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
        files: graph -> its file, in the order in which a case runs through them
        judge: from a graph's name

    Returns:
        checks, graph by graph
    """
    runner = runner_of(target)
    steps: dict[str, list[Step]] = defaultdict(list)
    for step in lab.steps(model):
        steps[step.graph].append(step)
    checks: list[Check] = []
    for graph, file in files.items():
        checks += _isolated(runner, graph, file, steps[graph], judge(graph))
    for graph, file in files.items():
        checks += _carried(runner, graph, file, steps[graph])
    return checks


def _isolated(runner: Runner, graph: str, file: Path, steps: list[Step], judge: Judge) -> list[Check]:
    """Each layer on the reference's residual stream: gated."""
    try:
        stage = runner.open(file, graph, "cut")
    except ParityError as error:
        return [Check(graph, "graph", "load", problem=str(error))]
    checks: list[Check] = []
    for step in steps:
        try:
            actual = stage.run({**step.expected, **step.inputs})
        except ParityError as error:
            checks.append(Check(graph, "graph", step.case, problem=str(error)))
        else:
            checks += judge.check(graph, step.case, actual, step.expected)
    return checks


def _carried(runner: Runner, graph: str, file: Path, steps: list[Step]) -> list[Check]:
    """Each layer on what the layer before it made: shows how errors add up, and is reported only.

    What it says is gated elsewhere: single layers above, the whole way in P5.
    """
    judge = Judge(lambda stage: None, lambda stage: 0.0)
    checks: list[Check] = []
    try:
        stage = runner.open(file, graph, "visible")
        for step in steps:
            actual = stage.run(step.inputs)
            expected = {name: step.expected[name] for name in actual if name in step.expected}
            checks += judge.check(graph + CARRIED, step.case, actual, expected)
    except ParityError:
        return []  # a graph that does not run has failed above
    return checks
