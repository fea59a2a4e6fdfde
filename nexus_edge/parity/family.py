"""What the ladder must know of a family of models.

A family says how its models are walked through (a `Lab`, see lab.py), and how its goldens are replayed on a device.
Importing one imports no torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nexus_edge.bundle import Bundle
from nexus_edge.engines.probes import Stage
from nexus_edge.errors import BundleError
from nexus_edge.families import families
from nexus_edge.parity.lab import Lab
from nexus_edge.parity.metrics import Values
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Judge


@dataclass(frozen=True)
class Golden:
    """One recorded case: its values by name, as `Lab.record` left them."""

    name: str
    values: Values


@dataclass(frozen=True)
class Replay:
    """What a family needs to replay its goldens on a device.

    Attributes:
        bundle: with the processor's files
        stages: by the names of their counterparts, loaded for the target that is judged
        goldens: the recorded cases, in the order of their names
        judge: with this target's gates
        target, precision: that are judged
    """

    bundle: Bundle
    stages: Mapping[str, Stage]
    goldens: tuple[Golden, ...]
    judge: Judge
    target: str
    precision: str


@dataclass(frozen=True)
class ParityFamily:
    """What the ladder must know about the models of one `model_type`."""

    lab: type[Lab]
    replay: Callable[[Replay], list[Check]]


def parity_of(model_type: str) -> ParityFamily:
    """What the ladder knows of a bundle's models.

    Raises:
        BundleError: no family has this model_type.
    """
    if model_type not in families():
        raise BundleError(f"manifest.json: model_type {model_type!r} has no parity ladder; update nexus-edge")
    return families()[model_type].parity()
