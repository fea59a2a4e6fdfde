"""How Core ML computes, and our evaluator in its place."""

from nexus_edge.engines.base import EngineOptions
from nexus_edge.engines.coreml import ENGINE
from nexus_edge.engines.probes import Variant
from nexus_edge.parity.formats import FLOAT16, Formats

PRECISION = "f16"

FORMATS = Formats(significand=FLOAT16)
"""Values, scales, norms and biases in float16."""


def variants() -> list[Variant]:
    """The one that there is."""
    return [Variant(PRECISION, EngineOptions(engine=ENGINE.name), FORMATS)]
