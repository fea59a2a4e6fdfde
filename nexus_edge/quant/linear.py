"""Linear and embedding layers whose weight is stored as a scheme says; they are what the exporter lowers."""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear

from nexus_edge.ops.gather_quantized import gather_quantized
from nexus_edge.ops.matmul_int8 import matmul_int8
from nexus_edge.ops.matmul_nbits import matmul_nbits
from nexus_edge.ops.widen_int4 import widen_int4
from nexus_edge.quant.buffers import buffer_specs
from nexus_edge.quant.schemes import Scheme


class _QuantModule(nn.Module):
    """Holds what `buffer_specs` lists as buffers of the same names, on the meta device until they are filled.

    `weight` is there in a float scheme; otherwise `qweight`, `scales`, with an asymmetric scheme `zero_points`, and on
    two levels `multipliers`.
    """

    weight: Tensor
    qweight: Tensor
    scales: Tensor
    zero_points: Tensor | None
    multipliers: Tensor | None
    bias: Tensor | None

    def __init__(self, shape: tuple[int, int], scheme: Scheme, *, bias: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.scheme = scheme
        for name in ("zero_points", "multipliers", "bias"):
            self.register_buffer(name, None)
        for name, (dtype, size) in buffer_specs(shape, scheme, has_bias=bias).items():
            self.register_buffer(name, torch.empty(size, dtype=getattr(torch, dtype), device="meta"))

    def fill(self, buffers: dict[str, Tensor]) -> None:
        """Take over tensors by buffer name, as `quantize_tensor` or `QuantizedTensor.buffers` gives them."""
        self.load_state_dict(self.state_dict() | buffers, assign=True)

    def int8_weight(self) -> Tensor:
        """int8 [out, in], of a scheme with one scale per output channel"""
        if self.multipliers is None or self.zero_points is None:
            return self.qweight
        return widen_int4(self.qweight, self.multipliers, self.zero_points, self.shape[1])

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"{self.shape[1]} -> {self.shape[0]}, {self.scheme.name}"


class QuantLinear(_QuantModule):
    """y = x @ weight.T + bias with a weight of `shape` = (out, in) stored as `scheme` says."""

    def forward(self, x: Tensor) -> Tensor:
        """x: float32 [..., in] -> float32 [..., out]"""
        scheme = self.scheme
        y: Tensor
        if scheme.is_float:
            y = linear(x, self.weight.float(), self.bias)
        elif scheme.activation == "int8-row":
            y = matmul_int8(x, self.int8_weight(), self.scales, self.bias)
        else:
            codes = (self.qweight, self.scales, self.zero_points)
            activation_bits = 8 if scheme.activation == "int8-block" else 32
            y = matmul_nbits(x, *codes, self.bias, scheme.bits, scheme.group_size, activation_bits)
        return y


class QuantEmbedding(_QuantModule):
    """Rows of a table of `shape` = (entries, width) stored as `scheme` says."""

    def forward(self, ids: Tensor) -> Tensor:
        """ids: int64 [...] -> float32 [..., width]"""
        scheme = self.scheme
        rows: Tensor
        if scheme.is_float:
            rows = embedding(ids, self.weight).float()
        elif scheme.activation == "int8-row":
            rows = embedding(ids, self.int8_weight()).float() * self.scales[ids].float().unsqueeze(-1)
        else:
            codes = (self.qweight, self.scales, self.zero_points)
            rows = gather_quantized(ids, *codes, scheme.bits, scheme.group_size)
            if self.shape[1] % scheme.group_size:
                rows = rows[..., : self.shape[1]]
        return rows
