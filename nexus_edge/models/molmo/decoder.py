"""Molmo's decoders: Qwen2's blocks (7B-D, 72B) and OLMo's (7B-O), under the names of the authors' code."""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from nexus_edge.layers.decoder import KeyValue, RMSNorm
from nexus_edge.models.molmo.params import MolmoParams
from nexus_edge.ops.attention import cached_attention
from nexus_edge.ops.rotary import rotary


class Embedding(nn.Module):
    """Two tables: that of the language model, and that of the ids which came with images."""

    def __init__(self, params: MolmoParams) -> None:
        super().__init__()
        self.embedding = nn.Embedding(params.embedding_size, params.hidden_size)
        self.new_embedding = nn.Embedding(params.new_ids, params.hidden_size)
        self.known = params.embedding_size

    def forward(self, ids: Tensor) -> Tensor:
        """int64 [batch, tokens] -> [batch, tokens, hidden]"""
        known = self.embedding(ids.clamp(max=self.known - 1))
        new = self.new_embedding((ids - self.known).clamp(min=0))
        return torch.where((ids >= self.known).unsqueeze(-1), new, known)


def feature_rows(is_image: Tensor, image_features: Tensor) -> Tensor:
    """What is added to embeddings: the features in their order at image tokens, zeros elsewhere and after the last.

    Args:
        is_image: bool [batch, tokens]
        image_features: [image features, hidden]; none where the host adds them to what the graph gives

    Returns:
        [batch, tokens, hidden]
    """
    # Row 0 stands for "nothing", so that the gather is valid for a prompt without images.
    nothing = image_features.new_zeros(1, image_features.shape[1])
    count = is_image.flatten().to(torch.int64).cumsum(0).view(is_image.shape)
    there = is_image & (count <= torch.full((), image_features.shape[0], dtype=torch.int64))
    return nn.functional.embedding(torch.where(there, count, 0), torch.cat((nothing, image_features)))


class Block(nn.Module):
    """Attention, then the gated MLP, each added to the residual stream; norms before or after them.

    One weight holds query, key and value, and one what is gated and the gate, in this order.
    """

    def __init__(self, params: MolmoParams) -> None:
        super().__init__()
        decoder = params.decoder
        query, key_value = decoder.num_heads * decoder.head_dim, decoder.num_kv_heads * decoder.head_dim
        self.decoder, self.norm_after = decoder, params.norm_after
        self.splits = [query, key_value, key_value]
        self.attn_norm = RMSNorm(decoder.hidden_size, decoder.rms_norm_eps)
        self.att_proj = nn.Linear(decoder.hidden_size, sum(self.splits), bias=params.qkv_bias)
        self.q_norm = RMSNorm(query, decoder.rms_norm_eps) if params.qk_norm else None
        self.k_norm = RMSNorm(key_value, decoder.rms_norm_eps) if params.qk_norm else None
        self.attn_out = nn.Linear(query, decoder.hidden_size, bias=False)
        self.ff_norm = RMSNorm(decoder.hidden_size, decoder.rms_norm_eps)
        self.ff_proj = nn.Linear(decoder.hidden_size, 2 * decoder.intermediate_size, bias=False)
        self.ff_out = nn.Linear(decoder.intermediate_size, decoder.hidden_size, bias=False)

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
        if self.norm_after:
            context, present = self.attend(x, cos, sin, attention_mask, past)
            x = x + self.attn_norm(context)
            return x + self.ff_norm(self.feed(x)), present
        context, present = self.attend(self.attn_norm(x), cos, sin, attention_mask, past)
        x = x + context
        return x + self.feed(self.ff_norm(x)), present

    def attend(
        self, x: Tensor, cos: Tensor, sin: Tensor, attention_mask: Tensor, past: KeyValue
    ) -> tuple[Tensor, KeyValue]:
        """Rotary attention over the cache; see `forward`."""
        heads, kv_heads = self.decoder.num_heads, self.decoder.num_kv_heads
        query, key, value = self.att_proj(x).split(self.splits, dim=-1)
        if self.q_norm is not None and self.k_norm is not None:
            query, key = self.q_norm(query), self.k_norm(key)
        query = rotary(query.contiguous(), cos, sin, heads)
        key = rotary(key.contiguous(), cos, sin, kv_heads)
        context, *present = cached_attention(query, key, value, *past, attention_mask, heads, kv_heads, -1)
        return self.attn_out(context), (present[0], present[1])

    def feed(self, x: Tensor) -> Tensor:
        """The gated MLP, whose gate is the second half: [batch, tokens, hidden] -> the same shape"""
        up, gate = self.ff_proj(x).split([self.decoder.intermediate_size] * 2, dim=-1)
        return self.ff_out(silu(gate) * up)
