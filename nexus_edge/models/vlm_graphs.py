"""The graphs that every vision-language model has after its vision encoder, in the split for dynamic shapes."""

import torch
from torch import Tensor, nn

from nexus_edge.bundle import TensorSpec
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.layers.kv_cache import cache_specs
from nexus_edge.models.base import VisionLanguageModel

NAMES = ("vision_encoder", "embed_tokens", "decoder")
"""As ONNX Runtime GenAI calls them, in the order in which a prompt runs through them."""


class EmbedTokens(nn.Module):
    """Token ids to embeddings, with the image features among them."""

    def __init__(self, model: VisionLanguageModel) -> None:
        super().__init__()
        self.root = model

    def forward(self, input_ids: Tensor, image_features: Tensor) -> Tensor:
        """int64 [batch, tokens], [image tokens, hidden] -> [batch, tokens, hidden]"""
        return self.root.embed(input_ids, image_features)


class Decoder(nn.Module):
    """Embeddings and KV cache to the next token's logits.

    Positions follow from the number of ones in the mask. Its width is the length for which LongRoPE's factors are
    chosen: a runtime that feeds a long prompt in chunks appends zeros, and all chunks take the long factors.
    """

    def __init__(self, model: VisionLanguageModel) -> None:
        super().__init__()
        self.root = model

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        """
        Args:
            inputs_embeds: [batch, tokens, hidden]
            attention_mask: int64 [batch, past + tokens], 1 for what is there
            past: per layer a key and a value, [batch, num_kv_heads, past, head_dim]

        Returns:
            logits of the last token [batch, 1, vocab]; then the grown cache in the order of `past`
        """
        tokens, width = inputs_embeds.shape[1], torch.full((), attention_mask.shape[1], dtype=torch.int64)
        positions = attention_mask.sum(1, keepdim=True) - tokens + torch.arange(tokens)
        pairs = list(zip(past[0::2], past[1::2], strict=True))
        hidden, present = self.root.decode(inputs_embeds, positions, width, attention_mask, pairs)
        return self.root.logits(hidden[:, -1:]), *(tensor for key_value in present for tensor in key_value)


def image_features(model: VisionLanguageModel) -> TensorSpec:
    """What the vision encoder gives, and `embed_tokens` takes."""
    return TensorSpec("image_features", "float32", ("image_tokens", model.hidden_size))


def embed_tokens(model: VisionLanguageModel) -> GraphSpec:
    """See `EmbedTokens`."""
    ids = TensorSpec("input_ids", "int64", ("batch", "tokens"))
    return GraphSpec("embed_tokens", EmbedTokens(model), inputs=(ids, image_features(model)), outputs=(_embeds(model),))


def decoder(model: VisionLanguageModel, vocab: int) -> GraphSpec:
    """See `Decoder`; `vocab`: ids that it predicts."""
    params, layers = model.decoder_params, len(model.decoder_layers)
    cached, grown = (
        cache_specs(name, length, params.num_kv_heads, params.head_dim, layers)
        for name, length in (("past_key_values", "past"), ("present", "total"))
    )
    return GraphSpec(
        "decoder",
        Decoder(model),
        inputs=(_embeds(model), TensorSpec("attention_mask", "int64", ("batch", "total")), *cached),
        outputs=(TensorSpec("logits", "float32", ("batch", 1, vocab)), *grown),
    )


def _embeds(model: VisionLanguageModel) -> TensorSpec:
    return TensorSpec("inputs_embeds", "float32", ("batch", "tokens", model.hidden_size))
