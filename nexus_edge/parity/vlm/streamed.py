"""Carries one text through a decoder of any size, one layer in memory at a time.

For models whose full-precision weights do not fit: hidden states wait while a layer's tensors are read, used and
forgotten, so the peak is one layer (or the language head) in float32, 0.5 GB for Phi-3-Vision, not the whole model.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nexus_edge.bundle import BundleWeights
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.layers.decoder import KeyValue
from nexus_edge.models.loading import fill_constants, read_tensor, source_keys, to_torch
from nexus_edge.parity.metrics import Values
from nexus_edge.parity.vlm.cases import Case

if TYPE_CHECKING:
    from nexus_edge.models.base import ReferenceModel

Read = Callable[[str], Tensor]


def checkpoint_reader(checkpoint: Checkpoint, model: "ReferenceModel") -> Read:
    """Reads the tensors of the full-precision `model` in float32."""
    keys = source_keys(checkpoint, model)
    return lambda name: read_tensor(checkpoint, keys[name]).float()


def bundle_reader(weights: BundleWeights) -> Read:
    """Reads the tensors of the quantized model as they are stored."""

    def read(name: str) -> Tensor:
        tensor = to_torch(weights.read(name))
        weights.release(name)
        return tensor

    return read


def capture_streamed(model: "ReferenceModel", read: Read, case: Case) -> Values:
    """What `scheme.capture` gives for a case without pictures, and the cache of every layer.

    Args:
        model: on the meta device
        read: from a parameter's or buffer's name to its tensor
        case: a prompt without pictures

    Returns:
        `inputs_embeds`, `<layer>.output` and `present.{i}.key`, `.value` by name, and logits [tokens, vocab]
    """
    values: dict[str, Tensor] = {}
    with torch.inference_mode():
        with loaded(model, "model.embed_tokens", read) as embed_tokens:
            values["inputs_embeds"] = x = embed_tokens(torch.from_numpy(case.inputs["input_ids"]))
        for i, (output, (key, value)) in enumerate(walk_layers(model, read, x)):
            x = output
            values |= {f"present.{i}.key": key, f"present.{i}.value": value, f"model.layers.{i}.output": x}
        with loaded(model, "model.norm", read) as norm:
            x = norm(x)
        with loaded(model, "lm_head", read) as lm_head:
            values["logits"] = lm_head(x)[0]
    return {name: tensor.float().numpy() for name, tensor in values.items()}


def walk_layers(model: "ReferenceModel", read: Read, x: Tensor) -> Iterator[tuple[Tensor, KeyValue]]:
    """Output and cache of one decoder layer after the other, each loaded for itself; `x` is [1, tokens, hidden]."""
    fill_constants(model)
    root: Any = model
    tokens = x.shape[1]
    positions, mask = torch.arange(tokens)[None], torch.ones(1, tokens, dtype=torch.int64)
    cos, sin = root.model.rope(positions, torch.tensor(tokens))
    for i, past in enumerate(root.empty_past(x)):
        with loaded(model, f"model.layers.{i}", read) as layer:
            x, present = layer(x, cos, sin, mask, past)
        yield x, present


@contextmanager
def loaded(model: nn.Module, name: str, read: Read) -> Iterator[nn.Module]:
    """The submodule `name` of a model on the meta device, with its tensors while the block lasts."""
    module = model.get_submodule(name)
    empty = [
        (owner, leaf, tensor)
        for path, owner in module.named_modules(prefix=name)
        for leaf, tensor in (*owner.named_parameters(path, recurse=False), *owner.named_buffers(path, recurse=False))
    ]
    try:
        for owner, full_name, tensor in empty:
            value = read(full_name)
            is_parameter = isinstance(tensor, nn.Parameter)
            leaf = full_name.rpartition(".")[2]
            setattr(owner, leaf, nn.Parameter(value, requires_grad=False) if is_parameter else value)
        yield module
    finally:
        for owner, full_name, tensor in empty:
            setattr(owner, full_name.rpartition(".")[2], tensor)
