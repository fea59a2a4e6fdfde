"""The Llama-style decoder block (arXiv 2302.13971), with its projections apart as in Llama or fused as in Phi-3.

Fused are query, key and value, and the gate and up of the MLP (Phi-3 technical report, arXiv 2404.14219).
"""

import torch
from torch import Tensor, nn

from nexus_edge.layers.activations import ACTIVATIONS
from nexus_edge.layers.params import DecoderParams
from nexus_edge.ops.attention import cached_attention
from nexus_edge.ops.norms import rms_norm
from nexus_edge.ops.rotary import rotary

KeyValue = tuple[Tensor, Tensor]  # each [batch, num_kv_heads, cached tokens, head_dim]


class RMSNorm(nn.Module):
    """Root-mean-square normalisation, [..., hidden] -> the same shape."""

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    """Rotary attention over a KV cache; a fused projection holds the rows of query, key and value in this order."""

    def __init__(self, params: DecoderParams) -> None:
        super().__init__()
        self.params = params
        query, key_value = params.num_heads * params.head_dim, params.num_kv_heads * params.head_dim
        self.splits = [query, key_value, key_value]
        if params.fused:
            self.qkv_proj = nn.Linear(params.hidden_size, sum(self.splits), bias=False)
        else:
            self.q_proj = nn.Linear(params.hidden_size, query, bias=False)
            self.k_proj = nn.Linear(params.hidden_size, key_value, bias=False)
            self.v_proj = nn.Linear(params.hidden_size, key_value, bias=False)
        self.o_proj = nn.Linear(query, params.hidden_size, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, attention_mask: Tensor, past: KeyValue
    ) -> tuple[Tensor, KeyValue]:
        """[batch, tokens, hidden] -> the same shape, and the grown cache; see `DecoderLayer.forward`."""
        p = self.params
        if p.fused:
            query, key, value = self.qkv_proj(x).split(self.splits, dim=-1)
        else:
            query, key, value = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        query = rotary(query.contiguous(), cos, sin, p.num_heads)
        key = rotary(key.contiguous(), cos, sin, p.num_kv_heads)
        context, present_key, present_value = cached_attention(
            query, key, value, *past, attention_mask, p.num_heads, p.num_kv_heads, p.window
        )
        return self.o_proj(context), (present_key, present_value)


class GatedMlp(nn.Module):
    """A gated MLP, with silu SwiGLU (arXiv 2002.05202); a fused projection holds the gate's rows first, then up's."""

    def __init__(self, params: DecoderParams) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[params.hidden_act]
        self.splits = [params.intermediate_size] * 2
        self.fused = params.fused
        if params.fused:
            self.gate_up_proj = nn.Linear(params.hidden_size, sum(self.splits), bias=False)
        else:
            self.gate_proj = nn.Linear(params.hidden_size, params.intermediate_size, bias=False)
            self.up_proj = nn.Linear(params.hidden_size, params.intermediate_size, bias=False)
        self.down_proj = nn.Linear(params.intermediate_size, params.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, hidden] -> the same shape"""
        if self.fused:
            gate, up = self.gate_up_proj(x).split(self.splits, dim=-1)
        else:
            gate, up = self.gate_proj(x), self.up_proj(x)
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
