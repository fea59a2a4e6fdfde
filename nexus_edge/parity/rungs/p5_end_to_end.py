"""P5: pictures and text in, answers out, in the runtime that ships, against the quantized PyTorch model.

The reference's images come from other code than the runtime's (the family's original.py), so that the processing is
judged as well; what a kind of model answers is its own file's matter (vlm/end_to_end.py, dual/end_to_end.py).
"""

from nexus_edge.parity.lab import Lab
from nexus_edge.parity.report.report import Check

TITLE = "end to end: pictures and text to answers in the runtime"


def run(lab: Lab) -> list[Check]:
    """For each target and case the stages in their order."""
    return lab.for_each_target(lab.compare_end_to_end)
