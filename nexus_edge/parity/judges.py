"""Who judges: for a rung, a scheme, a target and a precision, each stage's gate and its rule for near ties."""

from collections.abc import Callable
from dataclasses import dataclass

from nexus_edge.bundle import Manifest
from nexus_edge.parity.sources import scheme_class
from nexus_edge.parity.stages import Judge
from nexus_edge.parity.tolerances import Gate, Tolerances


@dataclass(frozen=True)
class Judges:
    """The tolerances as they hold for one bundle."""

    tolerances: Tolerances
    manifest: Manifest

    def gate(self, rung: str, scheme: str, target: str = "", precision: str = "") -> Callable[[str], Gate | None]:
        """From a stage's name to its gate on this rung; without a target for what involves no graph."""
        weights = self.manifest.source.weights
        return lambda stage: self.tolerances.gate(rung, stage, target, scheme, weights, precision)

    def judge(
        self,
        rung: str,
        graph: str | None = None,
        scheme: str | None = None,
        target: str = "",
        precision: str = "",
    ) -> Judge:
        """For the weights of one graph, or of the whole bundle; `scheme` overrides what the manifest says."""
        chosen = scheme or scheme_class(self.manifest, graph)
        return Judge(
            self.gate(rung, chosen, target, precision),
            lambda stage: self.tolerances.near_tie(rung, stage, chosen, precision),
        )
