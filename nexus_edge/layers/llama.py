"""The Llama decoder (arXiv 2302.13971) as a whole, which Vicuna, Mistral (arXiv 2310.06825) and Yi have too.

Module names are those of the checkpoints. What goes in are embeddings, since images are placed among them before.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from nexus_edge.layers.decoder import DecoderLayer, KeyValue, RMSNorm
from nexus_edge.layers.params import LlamaParams
from nexus_edge.layers.rope import Rope


class LlamaModel(nn.Module):
    """Everything but the language head."""

    def __init__(self, params: LlamaParams) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(params.vocab_size, params.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(params.decoder) for _ in range(params.num_hidden_layers))
        self.norm = RMSNorm(params.hidden_size, params.decoder.rms_norm_eps)
        self.rope = Rope(params.rope_theta, params.decoder.head_dim)

    def forward(
        self, inputs_embeds: Tensor, position_ids: Tensor, attention_mask: Tensor, past: Sequence[KeyValue]
    ) -> tuple[Tensor, list[KeyValue]]:
        """All layers and the final norm.

        Args:
            inputs_embeds: [batch, tokens, hidden]
            position_ids: int64 [batch, tokens]
            attention_mask: int64 [batch, past + tokens]
            past: per layer, key and value [batch, num_kv_heads, past, head_dim]

        Returns:
            [batch, tokens, hidden] and the grown cache
        """
        cos, sin = (table.to(inputs_embeds.dtype) for table in self.rope(position_ids))
        x, present = inputs_embeds, []
        for layer, layer_past in zip(self.layers, past, strict=True):
            x, layer_present = layer(x, cos, sin, attention_mask, layer_past)
            present.append(layer_present)
        return self.norm(x), present


class Llama(nn.Module):
    """Decoder and language head, under the names of `LlamaForCausalLM`."""

    def __init__(self, params: LlamaParams) -> None:
        super().__init__()
        self.model = LlamaModel(params)
        self.lm_head = nn.Linear(params.hidden_size, params.vocab_size, bias=False)
