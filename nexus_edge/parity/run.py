"""One run of the ladder: what is judged, with what, and what has been found on the way."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nexus_edge.bundle import Bundle, Manifest
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.eval_file import Example
from nexus_edge.parity.judges import Judges
from nexus_edge.parity.references import MemoryLimit, WholeReferences
from nexus_edge.parity.tolerances import Tolerances

if TYPE_CHECKING:
    from nexus_edge.interfaces.weights import WeightSource
    from nexus_edge.parity.kinds import ParityKind


@dataclass
class ParityRun:
    """State that the rungs share; `ladder.prepare` makes one.

    Attributes:
        bundle: what is judged
        kind: what the ladder does with models of its kind
        checkpoint: what it was made from, or why there is none
        tolerances: all gates
        memory: what models may fill
        goldens: folder with goldens of the original implementation; None: the test suite's
        held_out_images: how many of a held-out set are looked at; None: what a kind of models can afford
        examples: a user's own, for the rung "eval"; none: there is no such rung
        own_tolerances: the user's file of tolerances, which `tolerances` holds too; "" where there is none
        notes: what the rung in progress leaves for the report
        broken: target -> why none of its graphs is worth running; P0 finds them
        damaged: P0 found something; a file that cannot be read above it is its finding, and ends no run
        prepared: what the kind keeps for its own functions: its cases, and what models made of them
    """

    bundle: Bundle
    kind: "ParityKind"
    checkpoint: Checkpoint | str
    tolerances: Tolerances
    memory: MemoryLimit
    goldens: Path | None = None
    held_out_images: int | None = None
    examples: tuple[Example, ...] = ()
    own_tolerances: str = ""
    notes: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    damaged: bool = False
    prepared: object = field(default=None, init=False, repr=False, compare=False)

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    @property
    def source(self) -> Checkpoint:
        """The checkpoint; raises NotRunError where there is none."""
        return self.references.source

    @property
    def weights(self) -> "WeightSource":
        """The checkpoint's, as they were when the bundle's were rounded; raises NotRunError where there is none."""
        return self.references.weights

    @cached_property
    def references(self) -> WholeReferences:
        """The PyTorch models as a whole."""
        return WholeReferences(self.bundle, self.checkpoint, self.memory)

    @property
    def judges(self) -> Judges:
        """The tolerances as they hold for this bundle."""
        return Judges(self.tolerances, self.manifest)

    def note(self, text: str) -> None:
        """Leave a remark for the rung in progress; the same remark is kept once."""
        if text not in self.notes:
            self.notes.append(text)
