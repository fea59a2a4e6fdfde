"""Molmo (September 2024): overlapping crops, features that are added to embeddings, decoders of Qwen2 and OLMo.

config_keys.py  every key of a checkpoint's configuration files, and what reads it
params.py       the numbers of config.json, and those that the authors' code fixes
crops.py        how an image is cut, and where its features go
resize.py       TensorFlow's bilinear resize
views.py        images to views
prompt.py       roles, and the tokens of an image
processing.py   text and images to the model's inputs
host.py         masks of the views, and where features go
vision.py       the tower, the pooling and the projector
decoder.py      embeddings and blocks
model.py        the reference model
graphs.py       its split into graphs with dynamic shapes
original.py     what the authors' code recorded, against the reference model
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from nexus_edge.errors import CheckpointError
from nexus_edge.interfaces.family import VlmFamily
from nexus_edge.interfaces.target import Flavour

if TYPE_CHECKING:
    from nexus_edge.configs.keys import Rules
    from nexus_edge.interfaces.facts import Chat
    from nexus_edge.interfaces.graph import Interface
    from nexus_edge.interfaces.host import VlmHost
    from nexus_edge.interfaces.processor import Processor
    from nexus_edge.interfaces.weights import WeightRules
    from nexus_edge.models.molmo.model import Molmo
    from nexus_edge.models.molmo.processing import MolmoProcessor


class MolmoFamily(VlmFamily):
    """See the module."""

    model_type = "molmo"
    title = "Molmo"
    published: ClassVar[Mapping[str, str]] = {}
    flavours: ClassVar[frozenset[Flavour]] = frozenset({"dynamic"})

    @property
    def config_rules(self) -> "Mapping[str, Rules]":
        from nexus_edge.models.molmo.config_keys import FILES

        return FILES

    def processor(self, folder: Path) -> "MolmoProcessor":
        from nexus_edge.models.molmo.processing import MolmoProcessor

        return MolmoProcessor.from_folder(folder)

    def host(self, config: Mapping[str, Any], graphs: "Mapping[str, Interface]", folder: Path) -> "VlmHost":
        from nexus_edge.models.molmo.host import make_host

        return make_host(config, graphs, folder)

    def context_length(self, config: Mapping[str, Any]) -> int:
        from nexus_edge.models.molmo.params import context_length

        return context_length(config)

    def build(self, config: Mapping[str, Any]) -> "Molmo":
        from nexus_edge.models.molmo.model import build

        return build(config)

    def weight_rules(self, config: Mapping[str, Any]) -> "WeightRules":
        from nexus_edge.models.molmo.model import weight_rules

        return weight_rules(config)

    def split(self) -> NoReturn:
        # graphs.SPLIT is whole and tested, and so is the host. But a bundle needs what `facts` cannot say yet.
        raise _not_yet("facts for the manifest")

    def static_split(self) -> NoReturn:
        raise _not_yet("programs with fixed shapes")

    def facts_of(self, config: Mapping[str, Any], settings: "Processor", chat: "Chat") -> NoReturn:
        # The vocabulary of `interfaces.facts` has no resize of fractions, no tokens around the rows of an image, and no
        # image that stands before the whole prompt.
        raise _not_yet("facts for the manifest")

    def parity(self) -> NoReturn:
        raise _not_yet("parity ladder")


def _not_yet(what: str) -> CheckpointError:
    return CheckpointError(
        f"Molmo has no {what} yet, so it cannot be exported; its reference model, processor and graphs are there"
    )


FAMILY = MolmoFamily()
