"""Quantized layers with their weights unpacked once, for as long as they are held.

`QuantLinear` unpacks its codes at every call, which takes less memory; where several prompts wait at a layer it takes
more time than the product itself.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import linear

from nexus_edge.ops.matmul_nbits import round_to_int8
from nexus_edge.quant.linear import QuantLinear
from nexus_edge.quant.schemes import Scheme
from nexus_edge.quant.tensor import QuantizedTensor

Settle = Callable[[nn.Module], nn.Module | None]
"""From a module with its weights to what computes in its place; None leaves it as it is."""


class RoundedLinear(nn.Module):
    """What `matmul_nbits` computes with inputs that are rounded to int8, with the weight in float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None, scheme: Scheme) -> None:
        super().__init__()
        self.weight, self.bias, self.scheme = weight, bias, scheme

    def forward(self, x: Tensor) -> Tensor:
        """float32 [..., in] -> float32 [..., out]"""
        groups = -(-self.weight.shape[1] // self.scheme.group_size)
        return linear(round_to_int8(x, groups, self.scheme.group_size), self.weight, self.bias)


def nothing_settled(module: nn.Module) -> nn.Module | None:
    """Every module as it is."""
    return None


def as_stored(module: nn.Module) -> nn.Module | None:
    """The same numbers as the layer itself, activations rounded as its scheme says."""
    if not isinstance(module, QuantLinear) or module.scheme.activation != "int8-block":
        return None
    return RoundedLinear(_weight(module), module.bias, module.scheme)


def as_float(module: nn.Module) -> nn.Module | None:
    """Products in float32 of what the codes stand for: activations are not rounded."""
    if not isinstance(module, QuantLinear) or module.scheme.is_float:
        return None
    plain = nn.Linear(module.shape[1], module.shape[0], bias=module.bias is not None, device="meta")
    state = {"weight": _weight(module)} | ({} if module.bias is None else {"bias": module.bias})
    plain.load_state_dict(state, assign=True)
    plain.scheme = module.scheme  # type: ignore[assignment]  # rounding.py asks what the weight is stored as
    return plain


def _weight(layer: QuantLinear) -> Tensor:
    scheme, codes = layer.scheme, (layer.qweight, layer.scales, layer.zero_points)
    return QuantizedTensor(*codes, scheme.bits, scheme.group_size, layer.shape, layer.multipliers).dequantize()
