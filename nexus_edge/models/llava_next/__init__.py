"""LLaVA-NeXT (LLaVA-v1.6) with Mistral, Vicuna and Yi decoders, in the layout of transformers.

config_keys.py  every key of a checkpoint's configuration files, and what reads it
defaults.py     what absent keys mean
params.py       the numbers of config.json
anyres.py       which grid of tiles an image takes, and where its features go
views.py        images to views
prompt.py       the chat templates of checkpoints that bring none
processing.py   text and images to the model's inputs
facts.py        what every runtime must know of it, as data
host.py         which of an image's features go where
model.py        the reference model
graphs.py       its split into graphs with dynamic shapes
parity.py       what the ladder asks; original_views.py: images to views by other code
original.py     what the original recorded, against the reference model
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from nexus_edge.errors import RecipeError
from nexus_edge.interfaces.family import VlmFamily
from nexus_edge.interfaces.target import Flavour

if TYPE_CHECKING:
    from nexus_edge.configs.keys import Rules
    from nexus_edge.interfaces.facts import Chat, VlmFacts
    from nexus_edge.interfaces.graph import Interface, ModelSplit
    from nexus_edge.interfaces.host import VlmHost
    from nexus_edge.interfaces.parity import VlmCases
    from nexus_edge.interfaces.processor import Processor
    from nexus_edge.interfaces.weights import WeightRules
    from nexus_edge.models.llava_next.model import LlavaNext
    from nexus_edge.models.llava_next.processing import LlavaNextProcessor


class LlavaNextFamily(VlmFamily):
    """See the module."""

    model_type = "llava_next"
    title = "LLaVA-NeXT"
    published: ClassVar[Mapping[str, str]] = {}
    flavours: ClassVar[frozenset[Flavour]] = frozenset({"dynamic"})

    @property
    def config_rules(self) -> "Mapping[str, Rules]":
        from nexus_edge.models.llava_next.config_keys import FILES

        return FILES

    def processor(self, folder: Path) -> "LlavaNextProcessor":
        from nexus_edge.models.llava_next.processing import LlavaNextProcessor

        return LlavaNextProcessor.from_folder(folder)

    def host(self, config: Mapping[str, Any], graphs: "Mapping[str, Interface]", folder: Path) -> "VlmHost":
        from nexus_edge.models.llava_next.host import make_host

        return make_host(config, graphs, folder)

    def has_window(self, config: Mapping[str, Any]) -> bool:
        from nexus_edge.models.llava_next.defaults import text_config

        text = text_config(config)
        window = text.get("sliding_window")
        return window is not None and bool(window < text["max_position_embeddings"])

    def context_length(self, config: Mapping[str, Any]) -> int:
        from nexus_edge.models.llava_next.defaults import context_length

        return context_length(config)

    def build(self, config: Mapping[str, Any]) -> "LlavaNext":
        from nexus_edge.models.llava_next.model import build

        return build(config)

    def weight_rules(self, config: Mapping[str, Any]) -> "WeightRules":
        from nexus_edge.models.llava_next.model import weight_rules

        return weight_rules(config)

    def split(self) -> "ModelSplit":
        from nexus_edge.models.llava_next.graphs import SPLIT

        return SPLIT

    def static_split(self) -> NoReturn:
        raise RecipeError(
            "LLaVA-NeXT has no programs with fixed shapes yet, as coreml wants them; leave that target out"
        )

    def openvino_client(self) -> NoReturn:
        raise RecipeError("LLaVA-NeXT has no graphs for OpenVINO yet; leave the target openvino out")

    def facts_of(self, config: Mapping[str, Any], settings: "Processor", chat: "Chat") -> "VlmFacts":
        from nexus_edge.models.llava_next.facts import facts

        return facts(config, settings, chat)

    def parity(self) -> "VlmCases":
        from nexus_edge.models.llava_next.parity import CASES

        return CASES


FAMILY = LlavaNextFamily()
