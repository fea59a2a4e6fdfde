"""The parts of Phi-3-Vision with fixed shapes; what has no fixed shape is left to the app.

That is the HD layout, which follows the image's proportions, and putting image features into a prompt. Both only copy
rows: the projector works on one row at a time, so it runs before the layout instead of after it.
"""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from nexus_edge.layers.decoder import DecoderLayer
from nexus_edge.layers.hd_assembly import merge_patches
from nexus_edge.layers.long_rope import LongRopeParams, inverse_frequencies
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.ops.rotary import rotary
from nexus_edge.ops.state_attention import state_attention
from nexus_edge.targets.coreml.masking import MASKED

SEPARATOR_ROWS = 2
"""Rows after the patches: the one that ends a row of patches, then the one between the two views."""


class CropEncoder(nn.Module):
    """Crops to image features in the decoder's width, and the separators, all of them projected."""

    def __init__(self, model: Phi3V) -> None:
        super().__init__()
        self.root = model

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """[crops, 3, 336, 336] -> [crops * 144, hidden] crop by crop and row by row; [SEPARATOR_ROWS, hidden]"""
        vision = self.root.model.vision_embed_tokens
        patches = merge_patches(vision.img_processor["vision_model"](pixel_values))
        rows = torch.cat((patches, vision.sub_GN.flatten(0, 2), vision.glb_GN.flatten(0, 1)))
        features = vision.img_projection(rows)
        return features[:-SEPARATOR_ROWS], features[-SEPARATOR_ROWS:]


class TokenEmbedding(nn.Module):
    """Token ids to embeddings; the app puts image features in the places of an image."""

    def __init__(self, model: Phi3V) -> None:
        super().__init__()
        self.root = model

    def forward(self, input_ids: Tensor) -> Tensor:
        """int32 [1, tokens] -> [1, tokens, hidden]"""
        return self.root.model.embed_tokens(input_ids)


class DecoderChunk(nn.Module):
    """Neighbouring layers of the decoder over caches of fixed length.

    Rows of a call that are after its last token write after it in the caches: nobody sees them there, and the next
    call overwrites them.

    Args:
        model: the whole
        layers: which of its layers, in order
        context: length of the caches in tokens
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, model: Phi3V, layers: range, context: int) -> None:
        super().__init__()
        self.root, self.layers, self.context = model, layers, context
        decoder = model.params.decoder
        for name in cache_names(layers):
            self.register_buffer(
                name, torch.empty(1, decoder.num_kv_heads, context, decoder.head_dim, device="meta"), persistent=False
            )
        for name in ("cos", "sin"):
            self.register_buffer(name, torch.empty(2 * context, decoder.head_dim // 2, device="meta"))

    def forward(self, hidden_states: Tensor, position: Tensor, length: Tensor) -> Tensor:
        """
        Args:
            hidden_states: [1, tokens, hidden]
            position: int32 [1], tokens in the caches; position + tokens <= context
            length: int32 [1], tokens of the whole prompt, or with the new one: LongRoPE's choice, alike for all calls
                of a prompt

        Returns:
            [1, tokens, hidden]
        """
        tokens, limit = hidden_states.shape[1], self.root.params.rope.original_max_position_embeddings
        rows = position + torch.arange(tokens, dtype=torch.int32)
        table_rows = rows + (length > limit).to(torch.int32) * self.context
        cos, sin = (embedding(table_rows, table).unsqueeze(0) for table in (self.cos, self.sin))
        bias = self._bias(rows)
        x = hidden_states
        for place in self.layers:
            x = self._layer(place, x, cos, sin, position, bias)
        return x

    def _layer(self, place: int, x: Tensor, cos: Tensor, sin: Tensor, position: Tensor, bias: Tensor) -> Tensor:
        layer = cast(DecoderLayer, self.root.model.layers[place])
        attention, p = layer.self_attn, self.root.params.decoder
        query, key, value = attention.qkv_proj(layer.input_layernorm(x)).split(attention.splits, dim=-1)
        query = rotary(query.contiguous(), cos, sin, p.num_heads)
        key = rotary(key.contiguous(), cos, sin, p.num_kv_heads)
        caches = [self.get_buffer(name) for name in cache_names(range(place, place + 1))]
        context, *grown = state_attention(
            query, key, value.contiguous(), *caches, position, bias, p.num_heads, p.num_kv_heads
        )
        for cache, new in zip(caches, grown, strict=True):
            cache.copy_(new)
        x = x + attention.o_proj(context)
        return x + layer.mlp(layer.post_attention_layernorm(x))

    def _bias(self, rows: Tensor) -> Tensor:
        """int32 [tokens] -> [1, 1, tokens, context], what is added to the scores"""
        row, column = rows.unsqueeze(1), torch.arange(self.context, dtype=torch.int32)
        hidden = column > row
        window = self.root.params.decoder.window
        if 0 <= window < self.context - 1:
            hidden = hidden | (row - column > window)
        return (hidden.to(torch.float32) * MASKED)[None, None]


class Head(nn.Module):
    """The last token's hidden state to logits."""

    def __init__(self, model: Phi3V) -> None:
        super().__init__()
        self.root = model

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[1, 1, hidden] -> [1, 1, vocab]"""
        return self.root.lm_head(self.root.model.norm(hidden_states))


def cache_names(layers: range) -> list[str]:
    """The buffers of a chunk that Core ML keeps, key and value of each layer."""
    return [f"{part}_{place}" for place in layers for part in ("key", "value")]


def rotary_tables(params: LongRopeParams, context: int) -> Mapping[str, Tensor]:
    """Cosines and sines of all positions, by the short list and then by the long one, [2 * context, head_dim / 2].

    Tables and no arithmetic: float16 has no room for an angle of thousands of radians.
    """
    positions = torch.arange(context, dtype=torch.float32).unsqueeze(1)
    lists = inverse_frequencies(params)
    cos, sin = [], []
    for kind, magnitude in zip(("short", "long"), params.magnitudes, strict=True):
        angles = positions * lists[f"{kind}_inv_freq"]
        cos.append(angles.cos() * magnitude)
        sin.append(angles.sin() * magnitude)
    return {"cos": torch.cat(cos), "sin": torch.cat(sin)}
