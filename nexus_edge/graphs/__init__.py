"""How a model splits into graphs; one file per family, named after its `model_type`, with its `SPLIT`."""

import importlib

from nexus_edge.graphs.spec import GraphSpec, ModelSplit

__all__ = ["GraphSpec", "ModelSplit", "split_of"]


def split_of(model_type: str) -> ModelSplit:
    """The split of a family that nexus-edge knows."""
    split: ModelSplit = importlib.import_module(f"nexus_edge.graphs.{model_type}").SPLIT
    return split
