"""From a checkpoint to a reference model that computes."""

from pathlib import Path

import torch
from torch import Tensor, nn

from nexus_edge.checkpoints import Checkpoint, FolderCheckpoint, check_keys
from nexus_edge.checkpoints.base import Array
from nexus_edge.families import family_of
from nexus_edge.models.base import ReferenceModel


def build_model(checkpoint: Checkpoint) -> ReferenceModel:
    """The model that `config.json` describes, on the default device, without the checkpoint's weights.

    Raises:
        CheckpointError: `model_type` names no model of nexus-edge, or a number is missing or impossible.
    """
    return family_of(checkpoint.config, checkpoint.name).build(checkpoint.config)


def source_keys(checkpoint: Checkpoint, model: nn.Module) -> dict[str, str]:
    """Parameter name of the full-precision `model` -> key under which the checkpoint stores it.

    Raises:
        CheckpointError: naming what is missing, unexpected or of the wrong shape.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    rules = family_of(checkpoint.config, checkpoint.name).key_rules(checkpoint.config)
    return check_keys(checkpoint.keys(), shapes, rules, checkpoint.name)


def read_tensor(checkpoint: Checkpoint, key: str) -> Tensor:
    """A copy of one tensor, in the type it is stored in; the checkpoint's pages are released."""
    tensor = to_torch(checkpoint.read(key))
    checkpoint.release(key)
    return tensor


def to_torch(array: Array) -> Tensor:
    """A copy as a torch tensor; bfloat16, which numpy itself does not know, goes through its bits."""
    if array.dtype.name != "bfloat16":
        return torch.from_numpy(array.copy())
    return torch.from_numpy(array.view("int16").copy()).view(torch.bfloat16)


def load_weights(model: ReferenceModel, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
    """Fill a model, tensor by tensor; its parameters may be on the meta device.

    Raises:
        CheckpointError: the checkpoint does not fit the model.
    """
    for name, key in source_keys(checkpoint, model).items():
        owner, _, leaf = name.rpartition(".")
        parameter = nn.Parameter(read_tensor(checkpoint, key).to(dtype), requires_grad=False)
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
    checkpoint = FolderCheckpoint(Path(path))
    with torch.device("meta"):
        model = build_model(checkpoint)
    load_weights(model, checkpoint, dtype)
    return model
