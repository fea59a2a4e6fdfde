"""The families of models, found by scanning `nexus_edge/models/`; finding them imports no torch."""

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from nexus_edge._typed import suggest
from nexus_edge.errors import CheckpointError
from nexus_edge.interfaces.family import Family

_ROOM = "nexus_edge.models"


@cache
def families() -> Mapping[str, Family]:
    """model_type -> family, by name."""
    folders = [found.name for found in pkgutil.iter_modules(import_module(_ROOM).__path__) if found.ispkg]
    return {name: import_module(f"{_ROOM}.{name}").FAMILY for name in sorted(folders)}


def family_named(model_type: str) -> Family:
    """A family by its model_type; raises CheckpointError if there is none."""
    if model_type not in families():
        raise CheckpointError(
            f"model_type {model_type!r} names no model of nexus-edge{suggest(model_type, families())}"
        )
    return families()[model_type]


def family_of(config: Mapping[str, Any], source: str) -> Family:
    """The family whose configuration this is.

    Args:
        config: parsed config.json, or the file that takes its part in a checkpoint's own layout
        source: where it is from, for the message

    Raises:
        CheckpointError: of no family
    """
    for family in families().values():
        if family.matches(config):
            return family
    kind = config.get("model_type")
    hint = suggest(str(kind), families())
    raise CheckpointError(f"{source}: holds a model of model_type {kind!r}, which nexus-edge does not know{hint}")
