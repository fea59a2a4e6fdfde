"""What the runtimes that ship answer to the cases: each is asked once in a run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nexus_edge.errors import NexusEdgeError
from nexus_edge.parity.precisions import runtime_options
from nexus_edge.parity.report.report import NotRunError
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.sources import weight_bytes
from nexus_edge.parity.vlm.cases import Case

if TYPE_CHECKING:
    from nexus_edge.parity.vlm.end_to_end import Found
    from nexus_edge.runtimes import EngineOptions


@dataclass
class RuntimeAnswers:
    """Of one run.

    Attributes:
        run: whose bundle answers
        cases: what is asked
        stop_ids: of the bundle's processor
    """

    run: ParityRun
    cases: Sequence[Case]
    stop_ids: tuple[int, ...]
    _known: "dict[tuple[str, EngineOptions], list[Found]]" = field(default_factory=dict)

    def of(self, target: str, options: "EngineOptions") -> "list[Found]":
        """What the runtime of a target makes of the cases; raises NotRunError where it would not fit."""
        from nexus_edge.parity.vlm.end_to_end import answer_all

        if (target, options) not in self._known:
            self.run.memory.require(2 * weight_bytes(self.run.bundle), "the runtime that ships")
            self._known[target, options] = answer_all(self.run.bundle, target, options, self.cases, self.stop_ids)
        return self._known[target, options]

    def of_any(self) -> dict[str, tuple[int, ...]]:
        """Token ids by the case's name, of the first target whose runtime runs here, rounding as little as it can.

        Raises:
            NotRunError: none of them does.
        """
        reasons = []
        for target in (name for name in self.run.manifest.targets if name not in self.run.broken):
            try:
                found = self.of(target, next(iter(runtime_options(target).values())))
            except (NexusEdgeError, NotRunError) as error:
                reasons.append(str(error))
            else:
                return {entry.case.name: tuple(entry.answer.ids) for entry in found}
        raise NotRunError("; ".join(reasons) or "no graph is worth running")
