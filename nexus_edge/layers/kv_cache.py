"""What a reference decoder keeps between calls, and which positions its tokens have."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from nexus_edge.bundle import TensorSpec
from nexus_edge.layers.decoder import KeyValue


@dataclass
class KVCache:
    """What a conversation keeps between calls.

    The embeddings are kept beside keys and values because a conversation that grows past the LongRoPE limit must be
    computed anew: every key in the cache was rotated with the short list.
    """

    layers: list[KeyValue] = field(default_factory=list)
    inputs_embeds: Tensor | None = None
    attention_mask: Tensor | None = None

    @property
    def length(self) -> int:
        """Tokens in the cache, padding included."""
        return 0 if self.inputs_embeds is None else self.inputs_embeds.shape[1]

    def extended_mask(self, input_ids: Tensor) -> Tensor:
        """The mask of what is cached and of these tokens, int64 [batch, tokens], none of them padding."""
        ones = torch.ones_like(input_ids)
        return ones if self.attention_mask is None else torch.cat((self.attention_mask, ones), dim=1)


def cache_specs(name: str, length: str, num_kv_heads: int, head_dim: int, layers: int) -> tuple[TensorSpec, ...]:
    """A cache as a graph has it, per layer a key and a value: `{name}.{layer}.key` [batch, heads, length, head_dim]."""
    return tuple(
        TensorSpec(f"{name}.{layer}.{part}", "float32", ("batch", num_kv_heads, length, head_dim))
        for layer in range(layers)
        for part in ("key", "value")
    )


def positions_of(attention_mask: Tensor) -> Tensor:
    """Positions that do not count padding: int64 [batch, tokens] of 0 and 1 -> int64 [batch, tokens].

    Padding gets position 1, as the original's generation code gives it.
    """
    return (attention_mask.cumsum(1) - 1).masked_fill(attention_mask == 0, 1)
