"""P5: images and text in, answers out, in the runtime that ships, against the quantized PyTorch model.

The reference's images come from other code than the runtime's (the family's original.py), so that the processing is
judged as well; what a kind of model answers is its own file's matter (vlm/end_to_end.py, dual_encoder/end_to_end.py).
"""

from nexus_edge.parity.per_target import for_each_target
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.run import ParityRun

TITLE = "end to end: images and text to answers in the runtime"


def judge(run: ParityRun) -> list[Check]:
    """For each target and case the stages in their order."""
    return for_each_target(run, lambda target: run.kind.compare_end_to_end(run, target))
