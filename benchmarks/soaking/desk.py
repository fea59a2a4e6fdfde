"""What the parts of the soak share: where they work, what they report, and bundles of the embedded checkpoints."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import nexus_edge
from nexus_edge.bundle import Bundle


@dataclass(frozen=True)
class Row:
    """One line of the table: what was tried how often, every time that it went wrong, and how long it took."""

    what: str
    tried: int
    wrong: tuple[str, ...]
    measured: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __add__(self, other: "Row") -> "Row":
        return replace(
            self,
            tried=self.tried + other.tried,
            wrong=self.wrong + other.wrong,
            seconds=self.seconds + other.seconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
        )


@dataclass(frozen=True)
class Desk:
    """A folder of one's own, one for sound bundles that outlives an interrupted run, the seed of all choices, and the
    share of the whole work that is asked for."""

    folder: Path
    bundles: Path
    seed: int
    scale: float

    def random(self, name: str) -> Random:
        """Choices that do not depend on what other parts chose."""
        return Random(f"{self.seed} {name}")

    def count(self, whole: int) -> int:
        """The share of `whole`, at least 1."""
        return max(1, round(whole * self.scale))

    def bundle(self, model: str) -> Bundle:
        """The embedded checkpoint of phi3-vision in int4 or of biomedclip in int8 for both engines, without parity."""
        out, precision = self.bundles / model, "int4" if model == "phi3-vision" else "int8"
        if out.exists():
            return Bundle.open(out)
        return nexus_edge.export(
            model, precision, checkpoint="tiny", targets=("onnx", "openvino"), out=out, parity=False
        )


@dataclass(frozen=True)
class Step:
    """Work of some minutes at most, after which an interrupted soak goes on. `name` is like no other step's."""

    name: str
    run: Callable[[Desk], Row]

    def timed(self, desk: Desk) -> Row:
        """Its row with the seconds that it took, those of processes that it started included."""
        started, cpu = time.perf_counter(), _cpu_seconds()
        row = self.run(desk)
        return replace(row, seconds=time.perf_counter() - started, cpu_seconds=row.cpu_seconds + _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
