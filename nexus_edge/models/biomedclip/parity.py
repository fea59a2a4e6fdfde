"""BiomedCLIP: what open_clip recorded of its architecture, and open_clip's way to a tower's inputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nexus_edge.interfaces.parity import DualCases
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Judge

if TYPE_CHECKING:
    from nexus_edge.models.biomedclip.original_inputs import OriginalInputs


def compare_original(folder: Path, judge: Judge) -> list[Check]:
    """See `ParityCases`."""
    from nexus_edge.models.biomedclip.original import compare

    return compare(folder, judge)


def original_inputs(config: Mapping[str, Any], files: Mapping[str, bytes]) -> "OriginalInputs":
    """See `DualCases`."""
    from nexus_edge.models.biomedclip.original_inputs import OriginalInputs

    return OriginalInputs.of(config, files)


CASES = DualCases(golden_set="biomedclip_tiny", compare_original=compare_original, original_inputs=original_inputs)
