"""P2 and P3 ask one question, of two pairs: does this graph compute what this PyTorch model computes?"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from nexus_edge.engines.probes import Counterpart, WeightOf, runner_of
from nexus_edge.errors import ParityError
from nexus_edge.parity.judges import Judges
from nexus_edge.parity.pieces import by_pieces
from nexus_edge.parity.references import Reference
from nexus_edge.parity.report.report import CARRIED, Check, NotRunError
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.stages import Judge, Step
from nexus_edge.runtimes.hosts import host_maker


@dataclass(frozen=True)
class GraphJudges:
    """What the graphs of a target are judged by.

    Attributes:
        judges: with the tolerances
        rung: where each layer works on the reference's values; with `CARRIED` after it, where errors add up
        target: whose graphs they are
        scheme: of the weights; None: what the manifest says of each graph
        unrounded: only precisions in which nothing is rounded that PyTorch does not round
    """

    judges: Judges
    rung: str
    target: str
    scheme: str | None = None
    unrounded: bool = False

    def isolated(self, counterpart: Counterpart) -> Judge:
        return self._judge(self.rung, counterpart)

    def carried(self, counterpart: Counterpart) -> Judge:
        return self._judge(self.rung + CARRIED, counterpart)

    def _judge(self, rung: str, counterpart: Counterpart) -> Judge:
        return self.judges.judge(rung, counterpart.graph, self.scheme, self.target, counterpart.precision)


def compare_graphs(
    run: ParityRun,
    reference: Reference,
    target: str,
    files: Mapping[str, Path],
    judges: GraphJudges,
    weight_of: WeightOf | None = None,
) -> list[Check]:
    """Every graph on the inputs that the PyTorch model gave it, so that one graph's error is not blamed on the next.

    Args:
        run: whose cases run through the model
        reference: which model
        target: whose graphs they are
        files: graph of the target -> its file, in the order in which a case runs through them
        judges: see `GraphJudges`
        weight_of: where the weights of graphs are that have no file of them; only for targets that come in pieces

    Returns:
        checks, graph by graph

    Raises:
        NotRunError: no case reaches one of the graphs, and nothing is wrong with the others.
    """
    found = runner_of(target).counterparts(files, host_maker(run.bundle))
    counterparts = [part for part in found if not (part.rounds and judges.unrounded)]
    steps: dict[str, list[Step]] = defaultdict(list)
    for step in run.kind.steps(run, reference):
        steps[step.graph].append(step)
    isolated: list[Check] = []
    carried: list[Check] = []
    for counterpart in counterparts:
        both = judges.isolated(counterpart), judges.carried(counterpart)
        ran = steps[counterpart.graph]
        if counterpart.pieces is not None:
            alone, together = by_pieces(
                counterpart.name, counterpart.pieces(weight_of), ran, *both, counterpart.formats
            )
        else:
            alone, together = _isolated(counterpart, ran, both[0], run), _carried(counterpart, ran, both[1])
        isolated += _named(alone, counterpart)
        carried += _named(together, counterpart)
    unreached = [counterpart.name for counterpart in counterparts if not steps[counterpart.graph]]
    if unreached:
        reason = f"no case reaches {', '.join(unreached)}, so nothing of it was compared"
        if all(check.status != "failed" for check in isolated):
            raise NotRunError(reason)
        run.note(reason)
    return isolated + carried


def _named(checks: list[Check], counterpart: Counterpart) -> list[Check]:
    return [replace(check, precision=counterpart.precision) for check in checks]


def _isolated(counterpart: Counterpart, steps: list[Step], judge: Judge, run: ParityRun) -> list[Check]:
    """Each layer on the reference's residual stream: gated.

    Another form of a graph may be too small for a case; of those that it takes there must be one.
    """
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
        except NotRunError as error:
            if name == counterpart.graph:
                raise
            run.note(f"{name}, {step.case}: not run, {error}")
        else:
            effects = partial(step.effect, counterpart.formats, cut=True)
            checks += judge.check(name, step.case, actual, step.expected, effects)
    if steps and not checks:
        raise NotRunError(f"{name} takes none of the cases")
    return checks


def _carried(counterpart: Counterpart, steps: list[Step], judge: Judge) -> list[Check]:
    """Each layer on what the layer before it made: shows how errors add up.

    Mostly reported only: rounding of activations grows on the way, and what it says is gated elsewhere, single layers
    above and the whole way in P5.
    """
    checks: list[Check] = []
    try:
        stage = counterpart.open("visible")
        for step in steps:
            try:
                actual = stage.run(step.inputs)
            except NotRunError:
                continue  # said above
            expected = {name: step.expected[name] for name in actual if name in step.expected}
            effects = partial(step.effect, counterpart.formats, cut=False)
            checks += judge.check(counterpart.name + CARRIED, step.case, actual, expected, effects)
    except ParityError:
        return []  # a graph that does not run has failed above
    return checks
