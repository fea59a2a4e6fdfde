"""What the parts of the soak share: where they work, what they report, and bundles of the embedded checkpoints."""

import random
from dataclasses import dataclass
from pathlib import Path

import nexus_edge
from nexus_edge.bundle import Bundle


@dataclass(frozen=True)
class Row:
    """One line of the table: what was tried how often, and every time that it went wrong."""

    what: str
    tried: int
    wrong: tuple[str, ...]
    measured: str = ""


@dataclass(frozen=True)
class Desk:
    """A folder of one's own, the seed of all choices, and the share of the whole work that is asked for."""

    folder: Path
    seed: int
    scale: float

    def random(self, name: str) -> random.Random:
        """Choices that do not depend on what other parts chose."""
        return random.Random(f"{self.seed} {name}")

    def count(self, whole: int) -> int:
        """The share of `whole`, at least 1."""
        return max(1, round(whole * self.scale))

    def bundle(self, model: str) -> Bundle:
        """The embedded checkpoint of phi3-vision in int4 or of biomedclip in int8, without parity."""
        precision = "int4" if model == "phi3-vision" else "int8"
        return nexus_edge.export(model, precision, checkpoint="tiny", out=self.folder / model, parity=False)
