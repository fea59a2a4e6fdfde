"""From a checkpoint to a reference model that computes."""

import re
from pathlib import Path

import torch
from torch import nn

from nexus_edge._arguments import require_path
from nexus_edge.bundle.layer_names import layer_around
from nexus_edge.checkpoints import Checkpoint, FolderCheckpoint
from nexus_edge.checkpoints.tensors import take
from nexus_edge.checkpoints.view import view
from nexus_edge.errors import CheckpointError
from nexus_edge.families import family_of
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.models.base import ReferenceModel

CONFIG = re.compile(r"(open_clip_)?config\.json: ")


def build_model(checkpoint: Checkpoint) -> ReferenceModel:
    """The model that `config.json` describes, on the default device, without the checkpoint's weights.

    Raises:
        CheckpointError: `model_type` names no model of nexus-edge, or a number is missing or impossible.
    """
    family = family_of(checkpoint.config, checkpoint.name)
    try:
        return family.build(checkpoint.config)
    except CheckpointError as error:
        # A family reads a parsed configuration, whose file has a name there and no folder.
        if checkpoint.folder is None or CONFIG.match(str(error)) is None:
            raise
        raise CheckpointError(str(checkpoint.folder / str(error))) from error


def build_empty(checkpoint: Checkpoint) -> ReferenceModel:
    """The same on the meta device: names and shapes, no numbers."""
    with torch.device("meta"):
        return build_model(checkpoint)


def weights_of(checkpoint: Checkpoint, model: ReferenceModel | None = None) -> WeightSource:
    """The weights of the full-precision model by its names; nothing is read.

    Args:
        checkpoint: holds them
        model: the model, where it has been built already; may be on the meta device

    Raises:
        CheckpointError: naming what is missing, unexpected or of the wrong shape, or what of its adapter does not fit.
    """
    model = build_empty(checkpoint) if model is None else model
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    rules = family_of(checkpoint.config, checkpoint.name).weight_rules(checkpoint.config)
    return view(checkpoint, shapes, rules, checkpoint.adapter, _all_linear(model))


def _all_linear(model: nn.Module) -> list[str]:
    """Names of the linear modules without the language head: outside of layers, with the shape of the embedding."""
    tables = {tuple(module.weight.shape) for module in model.modules() if isinstance(module, nn.Embedding)}
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    return [
        name
        for name, module in linear.items()
        if layer_around(name) is not None or tuple(module.weight.shape) not in tables
    ]


def load_weights(model: ReferenceModel, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
    """Fill a model, tensor by tensor; its parameters may be on the meta device.

    Raises:
        CheckpointError: the checkpoint does not fit the model.
    """
    fill(model, weights_of(checkpoint, model), dtype)


def fill(model: ReferenceModel, weights: WeightSource, dtype: torch.dtype) -> None:
    """Give a model all weights of a source, tensor by tensor, and its constants their values."""
    for name in weights.infos:
        owner, _, leaf = name.rpartition(".")
        parameter = nn.Parameter(take(weights, name).to(dtype), requires_grad=False)
        setattr(model.get_submodule(owner), leaf, parameter)
    fill_constants(model)


def fill_constants(model: ReferenceModel) -> None:
    """Give the tables that follow from the configuration their values, after building on the meta device."""
    for name, table in model.constants().items():
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, table)


def from_checkpoint(path: str | Path, dtype: torch.dtype = torch.float32) -> ReferenceModel:
    """The reference model of a checkpoint folder, in eval mode.

    Raises:
        CheckpointError: the folder is incomplete, corrupt, or not of a known model.
    """
    checkpoint = FolderCheckpoint(require_path("path", path))
    model = build_empty(checkpoint)
    load_weights(model, checkpoint, dtype)
    return model
