"""What makes a checkpoint a foreign one: numbers that are drawn, disturbed, or trained for some steps."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch._library.custom_ops import CustomOpDef

from nexus_edge.models.base import ReferenceModel

Tensors = dict[str, Tensor]
Edit = Callable[[Tensors, torch.Generator], Tensors]

KIND_KEY = "_nexus_edge_weights"


@dataclass(frozen=True)
class Names:
    """What a family calls its configuration and its weights."""

    config: str
    weights: str


def drawn(model: ReferenceModel, std: float, seed: int) -> Tensors:
    """Parameters as an initialisation leaves them: normal numbers of this deviation, norms at 1, biases at 0."""
    random = torch.Generator().manual_seed(seed)
    tensors: Tensors = {}
    for name, parameter in model.named_parameters():
        leaf = name.rpartition(".")[2]
        if parameter.ndim == 1 and leaf == "weight":
            tensors[name] = torch.ones(parameter.shape)
        elif parameter.ndim == 1 and leaf == "bias":
            tensors[name] = torch.zeros(parameter.shape)
        elif parameter.ndim == 0:
            tensors[name] = torch.tensor(1 / 0.07).log()  # as CLIP starts
        else:
            tensors[name] = torch.randn(parameter.shape, generator=random) * std
    return tensors


def disturbed(amount: float) -> Edit:
    """Every weight moved by normal numbers of `amount` of its tensor's deviation."""

    def edit(tensors: Tensors, random: torch.Generator) -> Tensors:
        return {
            name: tensor + amount * _deviation(tensor) * torch.randn(tensor.shape, generator=random)
            for name, tensor in tensors.items()
        }

    return edit


def with_outliers(factor: float, share: float = 0.03) -> Edit:
    """A few channels of every norm are larger, as those of large language models are (LLM.int8, arXiv 2208.07339)."""

    def edit(tensors: Tensors, random: torch.Generator) -> Tensors:
        def grown(name: str, tensor: Tensor) -> Tensor:
            if tensor.ndim != 1 or not name.endswith("weight"):
                return tensor
            chosen = torch.rand(tensor.shape, generator=random) < share
            return torch.where(chosen, tensor * factor, tensor)

        return {name: grown(name, tensor) for name, tensor in tensors.items()}

    return edit


def scaled(factor: float) -> Edit:
    """Every matrix multiplied: with small ones all is the residual stream's, with large ones layers saturate."""
    return lambda tensors, random: {
        name: tensor * factor if tensor.ndim > 1 else tensor for name, tensor in tensors.items()
    }


def write(folder: Path, config: Mapping[str, Any], tensors: Tensors, files: Mapping[str, Path], names: Names) -> None:
    """A checkpoint folder that says nothing of where it comes from, like anybody's."""
    folder.mkdir(parents=True)
    plain = {key: value for key, value in config.items() if key != KIND_KEY}
    (folder / names.config).write_text(json.dumps(plain, indent=1), "utf-8")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / names.weights)
    for name, source in files.items():
        shutil.copy(source, folder / name)


def edited(source: Path, edit: Edit, seed: int) -> Tensors:
    """The tensors of a file in float32, edited."""
    tensors = {name: tensor.float() for name, tensor in load_file(source).items()}
    return edit(tensors, torch.Generator().manual_seed(seed))


def _deviation(tensor: Tensor) -> Tensor:
    return tensor.std() if tensor.numel() > 1 else torch.zeros(())


@contextmanager
def differentiable() -> Iterator[None]:
    """Inside, layers call the plain functions of their custom operators, which know no gradients."""
    with ExitStack() as stack:
        for module in [module for name, module in sys.modules.items() if name.startswith("nexus_edge.layers.")]:
            for name, operator in [(n, o) for n, o in vars(module).items() if isinstance(o, CustomOpDef)]:
                stack.enter_context(patch.object(module, name, operator._init_fn))
        yield


def trained(model: ReferenceModel, loss: Callable[[ReferenceModel], Tensor], steps: int, rate: float) -> Tensors:
    """The model's parameters after some steps of AdamW."""
    model.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    with differentiable():
        for _ in range(steps):
            optimizer.zero_grad()
            loss(model).backward()
            optimizer.step()
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
