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
original.py     what the original recorded, against the reference model
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from nexus_edge.errors import CheckpointError
from nexus_edge.interfaces.family import VlmFamily

if TYPE_CHECKING:
    from nexus_edge.checkpoints.keys import KeyRules
    from nexus_edge.configs.keys import Rules
    from nexus_edge.interfaces.facts import VlmFacts
    from nexus_edge.interfaces.graph import Interface
    from nexus_edge.interfaces.host import VlmHost
    from nexus_edge.models.llava_next.model import LlavaNext
    from nexus_edge.models.llava_next.processing import LlavaNextProcessor


class LlavaNextFamily(VlmFamily):
    """See the module."""

    model_type = "llava_next"
    title = "LLaVA-NeXT"
    published: ClassVar[Mapping[str, str]] = {}

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

    def build(self, config: Mapping[str, Any]) -> "LlavaNext":
        from nexus_edge.models.llava_next.model import build

        return build(config)

    def key_rules(self, config: Mapping[str, Any]) -> "KeyRules":
        from nexus_edge.models.llava_next.model import key_rules

        return key_rules(config)

    def split(self) -> NoReturn:
        # graphs.SPLIT is whole and tested. But the runtime feeds image_sizes where the vision encoder takes an index,
        # and tells images apart by negative ids alone: a bundle would answer for one image with the cache of another.
        raise _not_yet("runtime")

    def static_split(self) -> NoReturn:
        raise _not_yet("programs with fixed shapes")

    def facts(self, config: Mapping[str, Any], processor: Path) -> "VlmFacts":
        from nexus_edge.models.llava_next.facts import facts

        return facts(config, processor)

    def parity(self) -> NoReturn:
        raise _not_yet("parity ladder")


def _not_yet(what: str) -> CheckpointError:
    return CheckpointError(
        f"LLaVA-NeXT has no {what} yet, so it cannot be exported; its reference model, processor and graphs are there"
    )


FAMILY = LlavaNextFamily()
