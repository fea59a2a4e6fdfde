"""P1: the reference model against goldens that were made with the authors' own code.

Says nothing about one bundle: it vouches for the reference that every other rung is measured with. The goldens
are the test suite's, and those of this rung travel in the wheel, so that it runs wherever the package is installed.
"""

from nexus_edge._resources import goldens_dir
from nexus_edge.errors import InputError
from nexus_edge.parity.lab import Lab
from nexus_edge.parity.report.report import Check, NotRunError

TITLE = "original: reference model against the authors' code"


def run(lab: Lab) -> list[Check]:
    """Every value that the family's goldens record."""
    folder = lab.goldens or goldens_dir() / lab.golden_set
    if not folder.is_dir():
        if lab.goldens is not None:
            raise InputError(f"{folder}: no such folder; --goldens wants one with cases.json and outputs.safetensors")
        raise NotRunError(f"{folder}: the original's goldens are not there; name their folder with --goldens")
    return lab.compare_original(folder, lab.judge("P1", scheme="float32"))
