"""A user's own tolerances: a TOML file like tolerances.toml, whose entries come after that one's and so win.

What the user gates must be gated: an entry that nothing in the run was judged by is said, and the run is not green.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from nexus_edge._toml import read_toml
from nexus_edge.errors import InputError
from nexus_edge.parity.metrics import NearTie
from nexus_edge.parity.tolerances import RUNGS, Gate, Tolerances, TolerancesError, load, match, parse

_OWN_DATA = "eval"  # the rung that runs only where the user brings examples


@dataclass(frozen=True)
class OwnTolerances(Tolerances):
    """The package's tolerances and after them the user's, which remember what they were asked for.

    Attributes:
        own: the user's alone
        path: their file
        met: the user's entries that matched, by kind and number
    """

    own: Tolerances
    path: Path
    met: set[tuple[str, int]] = field(default_factory=set)

    def gate(self, rung: str, stage: str, target: str, scheme: str, weights: str, precision: str = "") -> Gate | None:
        """See `Tolerances.gate`."""
        asked = (rung, stage, target, scheme, weights, precision)
        self.met.update(("gate", i) for i, entry in enumerate(self.own.entries, 1) if entry.matches(*asked))
        return super().gate(*asked)

    def near_tie(self, rung: str, stage: str, scheme: str, precision: str = "") -> NearTie:
        """See `Tolerances.near_tie`."""
        asked = (rung, stage, scheme, precision)
        self.met.update(("near_tie", i) for i, (own, _) in enumerate(self.own.near_ties, 1) if match(asked, own))
        return super().near_tie(*asked)

    def unmet(self, ran: Collection[str]) -> tuple[str, ...]:
        """In words, each entry that matched nothing, unless one of the rungs that it is for did not run."""
        rungs = [("gate", i, entry.patterns[0]) for i, entry in enumerate(self.own.entries, 1)]
        rungs += [("near_tie", i, patterns[0]) for i, (patterns, _) in enumerate(self.own.near_ties, 1)]
        return tuple(
            f"{self.path}, {kind} {i} matched nothing that was judged; mend its names, or leave it out"
            for kind, i, rung in rungs
            if (kind, i) not in self.met and _rungs(rung) <= set(ran)
        )


def _rungs(pattern: str) -> set[str]:
    """The rungs that a pattern is for; that of a user's own examples counts where it is the only one."""
    found = {rung.removesuffix(", carried") for rung in RUNGS if fnmatchcase(rung, pattern)}
    return found - {_OWN_DATA} or found


def with_own(path: Path, family: str) -> OwnTolerances:
    """The package's tolerances for a family, which is named by its model_type, and after them those of a file.

    Raises:
        InputError: naming the file, and the entry that is wrong
    """
    try:
        own = parse(read_toml(path, InputError), str(path), RUNGS)
    except TolerancesError as error:
        raise InputError(str(error)) from error
    if not own.entries and not own.near_ties:
        raise InputError(f"{path}: has no [[gate]] and no [[near_tie]]; see nexus_edge/parity/tolerances.toml")
    packaged = load(family)
    return OwnTolerances(packaged.entries + own.entries, packaged.near_ties + own.near_ties, own, path)
