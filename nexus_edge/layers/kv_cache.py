"""What a reference decoder keeps between calls."""

from dataclasses import dataclass, field

from torch import Tensor

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
