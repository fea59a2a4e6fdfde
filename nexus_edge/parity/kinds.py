"""Kinds of models: what the ladder does with each is a record of functions, in a folder beside this file.

`KIND` in `<kind>/kind.py` is found by the name of a family's `kind`. Importing one imports no torch.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from nexus_edge.errors import BundleError
from nexus_edge.families import families
from nexus_edge.interfaces.family import Family

if TYPE_CHECKING:
    from nexus_edge.bundle import Bundle
    from nexus_edge.engines.probes import Stage
    from nexus_edge.parity.metrics import Array, Values
    from nexus_edge.parity.references import Reference
    from nexus_edge.parity.report.report import Check
    from nexus_edge.parity.run import ParityRun
    from nexus_edge.parity.stages import Judge, Step


@dataclass(frozen=True)
class Golden:
    """One recorded case: its values by name, as `ParityKind.record` left them."""

    name: str
    values: "Values"


@dataclass(frozen=True)
class Replay:
    """What is needed to replay goldens on a device.

    Attributes:
        bundle: with the processor's files
        stages: by the names of their counterparts, loaded for the target that is judged
        goldens: the recorded cases, in the order of their names
        judge: with this target's gates
        target, precision: that are judged
    """

    bundle: "Bundle"
    stages: "Mapping[str, Stage]"
    goldens: tuple[Golden, ...]
    judge: "Judge"
    target: str
    precision: str


@dataclass(frozen=True)
class ParityKind:
    """What the rungs ask of a kind of models.

    Attributes:
        streams: whether references are computed first, layer by layer, and gone when a runtime is loaded
        steps: the cases on their way through the graphs, run in PyTorch: what P2 and P3 compare with
        reference_bytes: memory that a reference takes while it computes
        compare_manifest: P0 for what the manifest says of this kind of models alone
        compare_schemes: P4 without the weights: what the quantized PyTorch model makes of the cases, against full
            precision
        compare_end_to_end: P5 of a target: the runtime that ships, on images and text, against the quantized PyTorch
            model
        compare_examples: of a target, how many of the user's examples are right in full precision and in the runtime
        record: the goldens of a bundle, `case.value` by name
        replay: every recorded case on a device
    """

    streams: bool
    steps: "Callable[[ParityRun, Reference], Iterator[Step]]"
    reference_bytes: "Callable[[ParityRun, Reference], int]"
    compare_manifest: "Callable[[ParityRun], list[Check]]"
    compare_schemes: "Callable[[ParityRun], list[Check]]"
    compare_end_to_end: "Callable[[ParityRun, str], list[Check]]"
    compare_examples: "Callable[[ParityRun, str], list[Check]]"
    record: "Callable[[ParityRun], Iterator[tuple[str, Array]]]"
    replay: Callable[[Replay], "list[Check]"]


def judged_family(model_type: str) -> Family:
    """The family of a bundle.

    Raises:
        BundleError: no family has this model_type.
    """
    if model_type not in families():
        raise BundleError(f"manifest.json: model_type {model_type!r} has no parity ladder; update nexus-edge")
    return families()[model_type]


def kind_of(model_type: str) -> ParityKind:
    """What the ladder does with a bundle's models; raises BundleError as `judged_family`."""
    kind: ParityKind = import_module(f"{__package__}.{judged_family(model_type).kind}.kind").KIND
    return kind
