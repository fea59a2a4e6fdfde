"""From a full-precision model to a quantized one: replace its layers, and turn weights into their stored tensors."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from nexus_edge.errors import CheckpointError
from nexus_edge.quant.linear import QuantEmbedding, QuantLinear
from nexus_edge.quant.registry import find_quantizer
from nexus_edge.quant.schemes import Scheme

Importance = Mapping[str, Tensor]
"""Name of a weight -> float32 [columns]: what a squared error in a column counts; absent: the same everywhere."""
_EQUAL: Importance = MappingProxyType({})


def quantize_modules(root: nn.Module, scheme_for: Callable[[str], Scheme], importance: Importance = _EQUAL) -> None:
    """Replace every nn.Linear and nn.Embedding inside `root`, in place, by the layer of its scheme.

    Layers on the meta device stay there; others are quantized with their data, one at a time. Layers whose scheme is
    float32 are left as they are.

    Args:
        root: the model
        scheme_for: from a layer's name within `root` ("model.layers.0.mlp.down_proj") to its scheme
        importance: of weights, by their names within `root`

    Raises:
        CheckpointError: a weight holds NaN or Inf, or is too large for the scheme's scales
    """
    for name, module in list(root.named_modules()):
        for child_name, child in list(module.named_children()):
            if isinstance(child, nn.Linear | nn.Embedding):
                path = f"{name}.{child_name}" if name else child_name
                scheme = scheme_for(path)
                if scheme.is_float and scheme.bits == 32:
                    continue
                setattr(module, child_name, _replacement(child, scheme, path, importance.get(f"{path}.weight")))


def _replacement(layer: nn.Linear | nn.Embedding, scheme: Scheme, name: str, importance: Tensor | None) -> nn.Module:
    rows, columns = layer.weight.shape
    bias = layer.bias if isinstance(layer, nn.Linear) else None
    new: QuantLinear | QuantEmbedding
    if isinstance(layer, nn.Linear):
        new = QuantLinear((rows, columns), scheme, bias=bias is not None)
    else:
        new = QuantEmbedding((rows, columns), scheme)
    if layer.weight.device.type != "meta":
        new.fill(quantize_tensor(layer.weight.detach(), scheme, name, importance))
        if bias is not None:
            new.fill({"bias": bias.detach().float()})
    return new.train(layer.training)


def quantize_tensor(
    weight: Tensor, scheme: Scheme, name: str = "weight", importance: Tensor | None = None
) -> dict[str, Tensor]:
    """The stored tensors of a weight by suffix: `weight` in a float scheme, else `qweight`, `scales`[, `zero_points`].

    Args:
        weight: [rows, columns], float32, float16 or bfloat16
        name: for the error message
        importance: float32 [columns]: what a squared error in a column counts; None: the same everywhere

    Raises:
        CheckpointError: the weight holds NaN or Inf, or is too large for the scheme's scales
    """
    if scheme.is_float:
        stored = weight.to(getattr(torch, f"float{scheme.bits}"))
        if not torch.isfinite(stored).all():
            raise CheckpointError(_not_finite(name, scheme))
        return {"weight": stored}
    quantized = find_quantizer(scheme.method)(weight, scheme, importance)
    # A NaN or Inf in the weight reaches the scale of its group, so looking at the scales is enough.
    if not torch.isfinite(quantized.scales).all():
        raise CheckpointError(_not_finite(name, scheme))
    return quantized.buffers()


def _not_finite(name: str, scheme: Scheme) -> str:
    return f"{name}: holds NaN, Inf or a value too large for scheme {scheme.name}; check or re-download the checkpoint"
