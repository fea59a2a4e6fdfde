"""P1: the reference model against goldens that were made with the authors' own code.

Says nothing about one bundle: it vouches for the reference that every other rung is measured with. The goldens
are the test suite's, and those of this rung travel in the wheel, so that it runs wherever the package is installed.
"""

from nexus_edge._resources import goldens_dir
from nexus_edge.parity.kinds import judged_family
from nexus_edge.parity.report.report import Check, NotRunError
from nexus_edge.parity.run import ParityRun

TITLE = "original: reference model against the authors' code"


def judge(run: ParityRun) -> list[Check]:
    """Every value that the family's goldens record."""
    given = judged_family(run.manifest.model_type).parity()
    folder = run.goldens or goldens_dir() / given.golden_set
    if not folder.is_dir():
        raise NotRunError(f"{folder}: the original's goldens are not there; name their folder with --goldens")
    return given.compare_original(folder, run.judges.judge("P1", scheme="float32"))
