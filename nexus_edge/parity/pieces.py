"""One graph against its reference, layer by layer: of the graph one piece is loaded at a time, and every case goes
through it before the next one is."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from nexus_edge.engines.probes import Piece, Stage
from nexus_edge.errors import ParityError
from nexus_edge.parity.formats import Formats
from nexus_edge.parity.metrics import Array
from nexus_edge.parity.report.report import CARRIED, Check
from nexus_edge.parity.stages import Judge, Step, in_order


@dataclass
class _Walk:
    """A case on its way through the pieces.

    Attributes:
        step: what goes in, and what should come out
        own: on layers that are fed by the reference, what pieces leave for later ones besides layers' outputs
        carried: what pieces leave for later ones where each works on what the one before it made
        seen: the expected values that a piece gave
        problem: why it went no further
    """

    step: Step
    own: dict[str, Array] = field(default_factory=dict)
    carried: dict[str, Array] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    problem: str | None = None
    isolated_checks: list[Check] = field(default_factory=list)
    carried_checks: list[Check] = field(default_factory=list)


def by_pieces(
    graph: str, pieces: Iterator[Piece], steps: list[Step], isolated: Judge, carried: Judge, formats: Formats
) -> tuple[list[Check], list[Check]]:
    """Checks of each layer on the reference's values, and of each on what the layer before it made.

    Args:
        graph: its name in reports
        pieces: in their order
        steps: the cases of this graph
        isolated, carried: what judges the one and the other
        formats: what may be rounded there differently than in PyTorch
    """
    walks = [_Walk(step) for step in steps]
    try:
        for piece in pieces:
            for walk in walks:
                if walk.problem is None:
                    _through(graph, piece, walk, (isolated, carried), formats)
    except ParityError as error:
        return [Check(graph, "graph", "load", problem=str(error))], []
    for walk in walks:
        if walk.problem is not None:
            walk.isolated_checks.append(Check(graph, "graph", walk.step.case, problem=walk.problem))
            continue
        for name in walk.step.expected:
            if name not in walk.seen:
                missing = {name: walk.step.expected[name]}
                walk.isolated_checks += isolated.check(graph, walk.step.case, {}, missing)
    return [check for walk in walks for check in walk.isolated_checks], [
        check for walk in walks for check in walk.carried_checks
    ]


def _through(graph: str, piece: Piece, walk: _Walk, judges: tuple[Judge, Judge], formats: Formats) -> None:
    step, (isolated, carried) = walk.step, judges
    own, added = (partial(step.effect, formats, cut=cut) for cut in (True, False))
    try:
        alone = _run(piece.stage, step, walk.own, from_reference=True)
        fed = any(name in step.expected for name in piece.stage.inputs)
        together = _run(piece.stage, step, walk.carried, from_reference=False) if fed else alone
    except ParityError as error:
        walk.problem = str(error)
        return
    for name in in_order([name for name in alone if name in step.expected]):
        expected = {name: step.expected[name]}
        walk.seen.add(name)
        walk.isolated_checks += isolated.check(graph, step.case, alone, expected, own)
        walk.carried_checks += carried.check(graph + CARRIED, step.case, together, expected, added)
    walk.own = _kept({**walk.own, **alone}, piece.needed - step.expected.keys())
    walk.carried = _kept({**walk.carried, **together}, piece.needed)


def _run(stage: Stage, step: Step, own: dict[str, Array], *, from_reference: bool) -> dict[str, Array]:
    values = {name: step.inputs[name] for name in stage.inputs if name in step.inputs}
    values |= {name: own[name] for name in stage.inputs if name in own}
    if from_reference:
        values |= {name: step.expected[name] for name in stage.inputs if name in step.expected}
    return dict(stage.run(values))


def _kept(values: dict[str, Array], names: frozenset[str]) -> dict[str, Array]:
    return {name: value for name, value in values.items() if name in names}
