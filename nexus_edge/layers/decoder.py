"""The Llama-style decoder block with fused qkv and gate_up projections (Phi-3 technical report, arXiv 2404.14219)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nexus_edge.layers.activations import ACTIVATIONS
from nexus_edge.ops.attention import cached_attention
from nexus_edge.ops.norms import rms_norm
from nexus_edge.ops.rotary import rotary

KeyValue = tuple[Tensor, Tensor]  # each [batch, num_kv_heads, cached tokens, head_dim]


@dataclass(frozen=True)
class DecoderParams:
    """The numbers of a decoder block. `window` < 0: no sliding window."""

    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    rms_norm_eps: float
    window: int = -1
    hidden_act: str = "silu"

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads


class RMSNorm(nn.Module):
    """Root-mean-square normalisation, [..., hidden] -> the same shape."""

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    """Rotary attention over a KV cache; one projection makes query, key and value, in this order of rows."""

    def __init__(self, params: DecoderParams) -> None:
        super().__init__()
        self.params = params
        query, key_value = params.num_heads * params.head_dim, params.num_kv_heads * params.head_dim
        self.splits = [query, key_value, key_value]
        self.qkv_proj = nn.Linear(params.hidden_size, sum(self.splits), bias=False)
        self.o_proj = nn.Linear(query, params.hidden_size, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, attention_mask: Tensor, past: KeyValue
    ) -> tuple[Tensor, KeyValue]:
        """[batch, tokens, hidden] -> the same shape, and the grown cache; see `DecoderLayer.forward`."""
        p = self.params
        query, key, value = self.qkv_proj(x).split(self.splits, dim=-1)
        query = rotary(query.contiguous(), cos, sin, p.num_heads)
        key = rotary(key.contiguous(), cos, sin, p.num_kv_heads)
        context, present_key, present_value = cached_attention(
            query, key, value, *past, attention_mask, p.num_heads, p.num_kv_heads, p.window
        )
        return self.o_proj(context), (present_key, present_value)


class GatedMlp(nn.Module):
    """A gated MLP, with silu SwiGLU (arXiv 2002.05202); the fused projection holds the gate's rows first, then up's."""

    def __init__(self, params: DecoderParams) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[params.hidden_act]
        self.splits = [params.intermediate_size] * 2
        self.gate_up_proj = nn.Linear(params.hidden_size, sum(self.splits), bias=False)
        self.down_proj = nn.Linear(params.intermediate_size, params.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, hidden] -> the same shape"""
        gate, up = self.gate_up_proj(x).split(self.splits, dim=-1)
        return self.down_proj(up * self.activation(gate))


class DecoderLayer(nn.Module):
    """One pre-norm block: attention, then the gated MLP, each added to the residual stream."""

    def __init__(self, params: DecoderParams) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(params.hidden_size, params.rms_norm_eps)
        self.self_attn = Attention(params)
        self.post_attention_layernorm = RMSNorm(params.hidden_size, params.rms_norm_eps)
        self.mlp = GatedMlp(params)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, attention_mask: Tensor, past: KeyValue
    ) -> tuple[Tensor, KeyValue]:
        """
        Args:
            x: [batch, tokens, hidden]
            cos, sin: [batch, tokens, head_dim / 2]
            attention_mask: int64 [batch, past + tokens]
            past: this layer's cached key and value

        Returns:
            [batch, tokens, hidden] and the grown cache
        """
        context, present = self.self_attn(self.input_layernorm(x), cos, sin, attention_mask, past)
        x = x + context
        return x + self.mlp(self.post_attention_layernorm(x)), present
