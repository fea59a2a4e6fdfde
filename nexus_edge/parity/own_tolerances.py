"""A user's own tolerances: a TOML file like tolerances.toml, whose entries come after that one's and so win."""

from dataclasses import replace
from pathlib import Path

from nexus_edge._toml import read_toml
from nexus_edge.errors import InputError
from nexus_edge.parity.tolerances import Tolerances, TolerancesError, load, parse


def with_own(path: Path, family: str) -> Tolerances:
    """The package's tolerances for a family, which is named by its model_type, and after them those of a file.

    Raises:
        InputError: naming the file, and the entry that is wrong
    """
    try:
        own = parse(read_toml(path, InputError), str(path))
    except TolerancesError as error:
        raise InputError(str(error)) from error
    if not own.entries and not own.near_ties:
        raise InputError(f"{path}: has no [[gate]] and no [[near_tie]]; see nexus_edge/parity/tolerances.toml")
    packaged = load(family)
    return replace(packaged, entries=packaged.entries + own.entries, near_ties=packaged.near_ties + own.near_ties)
