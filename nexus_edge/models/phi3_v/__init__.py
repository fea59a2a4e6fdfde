"""Phi-3-Vision (arXiv 2404.14219) and Phi-3.5-Vision.

config_keys.py  every key of a checkpoint's configuration files, and what reads it
params.py       the numbers of config.json
prompt.py       the chat template of checkpoints that bring none, and the tags of images
processing.py   text and images to the model's inputs
facts.py        what every runtime must know of it, as data
host.py         what happens between the graphs; hd_layout.py: an image's features in their order
model.py        the reference model
graphs.py       its split into graphs with dynamic shapes
static/         its split into programs with fixed shapes
clients/        the folders that ONNX Runtime GenAI and OpenVINO GenAI read
parity.py       what the ladder asks; original.py and original_crops.py: the authors' steps by other code
published/      the numbers of the published checkpoints
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nexus_edge.interfaces.family import VlmFamily

if TYPE_CHECKING:
    from nexus_edge.configs.keys import Rules
    from nexus_edge.interfaces.facts import Chat, VlmFacts
    from nexus_edge.interfaces.graph import Interface, ModelSplit
    from nexus_edge.interfaces.host import VlmHost
    from nexus_edge.interfaces.parity import VlmCases
    from nexus_edge.interfaces.processor import Processor
    from nexus_edge.interfaces.target import CompanionWriter
    from nexus_edge.interfaces.weights import WeightRules
    from nexus_edge.models.phi3_v.model import Phi3V
    from nexus_edge.models.phi3_v.processing import Phi3VProcessor
    from nexus_edge.targets.coreml.family import StaticSplit
    from nexus_edge.targets.openvino.family import OpenVinoClient


class Phi3VFamily(VlmFamily):
    """See the module."""

    model_type = "phi3_v"
    title = "Phi-3-Vision"
    published: ClassVar[Mapping[str, str]] = {
        "microsoft/Phi-3-vision-128k-instruct": "phi3_vision",
        "microsoft/Phi-3.5-vision-instruct": "phi3_5_vision",
    }
    clients: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "onnx": ("ONNX Runtime GenAI",),
        "openvino": ("OpenVINO GenAI",),
        "coreml": ("Swift package",),
    }

    @property
    def config_rules(self) -> "Mapping[str, Rules]":
        from nexus_edge.models.phi3_v.config_keys import FILES

        return FILES

    def processor(self, folder: Path) -> "Phi3VProcessor":
        from nexus_edge.models.phi3_v.processing import Phi3VProcessor

        return Phi3VProcessor.from_folder(folder)

    def host(self, config: Mapping[str, Any], graphs: "Mapping[str, Interface]", folder: Path) -> "VlmHost":
        from nexus_edge.models.phi3_v.host import make_host

        return make_host(config, graphs, folder)

    def has_window(self, config: Mapping[str, Any]) -> bool:
        from nexus_edge.models.phi3_v.config_keys import has_window

        return has_window(config)

    def context_length(self, config: Mapping[str, Any]) -> int:
        from nexus_edge.models.phi3_v.config_keys import context_length

        return context_length(config)

    def build(self, config: Mapping[str, Any]) -> "Phi3V":
        from nexus_edge.models.phi3_v.model import build

        return build(config)

    def weight_rules(self, config: Mapping[str, Any]) -> "WeightRules":
        from nexus_edge.models.phi3_v.model import weight_rules

        return weight_rules(config)

    def split(self) -> "ModelSplit":
        from nexus_edge.models.phi3_v.graphs import SPLIT

        return SPLIT

    def static_split(self) -> "StaticSplit":
        from nexus_edge.models.phi3_v.static.packages import STATIC

        return STATIC

    def openvino_client(self) -> "OpenVinoClient":
        from nexus_edge.models.phi3_v.clients.openvino_genai import CLIENT

        return CLIENT

    def onnx_companions(self) -> "Sequence[CompanionWriter]":
        from nexus_edge.models.phi3_v.clients.ort_genai import write_phi3v

        return (write_phi3v,)

    def facts_of(self, config: Mapping[str, Any], settings: "Processor", chat: "Chat") -> "VlmFacts":
        from nexus_edge.models.phi3_v.facts import facts

        return facts(config, settings, chat)

    def parity(self) -> "VlmCases":
        from nexus_edge.models.phi3_v.parity import CASES

        return CASES


FAMILY = Phi3VFamily()
