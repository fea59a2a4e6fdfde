"""BiomedCLIP (arXiv 2303.00915), and other models of its shape in open_clip's layout.

config_keys.py  every key of a checkpoint's configuration files, and what reads it
params.py       the numbers of open_clip_config.json
processing.py   images and texts to the towers' inputs
facts.py        what every runtime must know of it, as data
model.py        the reference model
graphs.py       its towers as graphs with dynamic shapes
static/         its towers as programs with fixed shapes
parity.py       what the ladder asks; original.py and original_inputs.py: open_clip's steps by other code
published/      the numbers of the published checkpoint
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nexus_edge.interfaces.family import DualEncoderFamily

if TYPE_CHECKING:
    from nexus_edge.configs.keys import Rules
    from nexus_edge.interfaces.facts import DualEncoderFacts
    from nexus_edge.interfaces.graph import ModelSplit
    from nexus_edge.interfaces.parity import DualCases
    from nexus_edge.interfaces.processor import DualProcessor
    from nexus_edge.interfaces.weights import WeightRules
    from nexus_edge.models.biomedclip.model import BiomedClip
    from nexus_edge.models.biomedclip.processing import BiomedClipProcessor
    from nexus_edge.targets.coreml.family import StaticSplit


class BiomedClipFamily(DualEncoderFamily):
    """See the module."""

    model_type = "biomedclip"
    title = "BiomedCLIP"
    published: ClassVar[Mapping[str, str]] = {"microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224": "biomedclip"}
    clients: ClassVar[Mapping[str, tuple[str, ...]]] = {"coreml": ("Swift package",)}

    def matches(self, config: Mapping[str, Any]) -> bool:
        """open_clip's own configuration names no model_type; it is the only one with `model_cfg`."""
        return super().matches(config) or (config.get("model_type") is None and "model_cfg" in config)

    @property
    def config_rules(self) -> "Mapping[str, Rules]":
        from nexus_edge.models.biomedclip.config_keys import FILES

        return FILES

    def processor(self, folder: Path) -> "BiomedClipProcessor":
        from nexus_edge.models.biomedclip.processing import BiomedClipProcessor

        return BiomedClipProcessor.from_folder(folder)

    def build(self, config: Mapping[str, Any]) -> "BiomedClip":
        from nexus_edge.models.biomedclip.model import build

        return build(config)

    def weight_rules(self, config: Mapping[str, Any]) -> "WeightRules":
        from nexus_edge.models.biomedclip.model import weight_rules

        return weight_rules(config)

    def split(self) -> "ModelSplit":
        from nexus_edge.models.biomedclip.graphs import SPLIT

        return SPLIT

    def static_split(self) -> "StaticSplit":
        from nexus_edge.models.biomedclip.static.packages import STATIC

        return STATIC

    def facts_of(self, processor: Path, settings: "DualProcessor") -> "DualEncoderFacts":
        from nexus_edge.models.biomedclip.facts import facts

        return facts(processor, settings)

    def parity(self) -> "DualCases":
        from nexus_edge.models.biomedclip.parity import CASES

        return CASES


FAMILY = BiomedClipFamily()
