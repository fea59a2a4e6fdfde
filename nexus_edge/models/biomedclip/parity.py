"""BiomedCLIP: what open_clip recorded of its architecture, and open_clip's way to a tower's inputs."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nexus_edge.parity.dual_encoder.lab import DualLab
from nexus_edge.parity.dual_encoder.replay import replay
from nexus_edge.parity.family import ParityFamily
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.stages import Judge
from nexus_edge.processing.folder import read_json

if TYPE_CHECKING:
    from nexus_edge.models.biomedclip.original_inputs import OriginalInputs


class BiomedClipLab(DualLab):
    """See `DualLab`."""

    golden_set = "biomedclip_tiny"

    @cached_property
    def original_inputs(self) -> "OriginalInputs":
        """With the settings of the checkpoint, or of the bundle where that is elsewhere."""
        from nexus_edge.models.biomedclip.original_inputs import OriginalInputs

        if not isinstance(self.checkpoint, str):
            return OriginalInputs.of(self.checkpoint.config, self.checkpoint.processor_files())
        folder = self.bundle.root / "processor"
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return OriginalInputs.of(read_json(folder, "config.json"), files)

    def compare_original(self, folder: Path, judge: Judge) -> list[Check]:
        from nexus_edge.models.biomedclip.original import compare

        return compare(folder, judge)


PARITY = ParityFamily(BiomedClipLab, replay)
