"""P1: the reference model against goldens that were made with the authors' own code.

Says nothing about one bundle: it vouches for the reference that every other rung is measured with. The goldens are test
data and not in the wheel, so an installed package runs this rung only where `--goldens` names their folder.
"""

from pathlib import Path

from nexus_edge.errors import InputError
from nexus_edge.parity.lab import Lab
from nexus_edge.parity.report import Check, NotRunError

TITLE = "original: reference model against the authors' code"
CHECKOUT_GOLDENS = Path(__file__).parents[2] / "tests" / "golden"


def run(lab: Lab) -> list[Check]:
    """Every value that the family's goldens record."""
    folder = lab.goldens or CHECKOUT_GOLDENS / lab.golden_set
    if not folder.is_dir():
        if lab.goldens is not None:
            raise InputError(f"{folder}: no such folder; --goldens wants one with cases.json and outputs.safetensors")
        raise NotRunError("the original's goldens are not in the wheel; name their folder with --goldens")
    return lab.compare_original(folder, lab.judge("P1", scheme="float32"))
