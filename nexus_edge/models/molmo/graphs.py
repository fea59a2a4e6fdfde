"""Molmo in three graphs: views to image features, ids to embeddings, embeddings to logits.

Which crop shows what is computed by the host (`crops.CropLayout`), in the float32 arithmetic of the original; the
vision encoder takes the masks and the index that follow from it.
"""

import torch
from torch import Tensor, nn

from nexus_edge.bundle import TensorSpec
from nexus_edge.interfaces.graph import GraphSpec, ModelSplit
from nexus_edge.layers.kv_cache import cache_specs
from nexus_edge.models.molmo.crops import PATCHES, SIDE
from nexus_edge.models.molmo.model import Molmo


class VisionEncoder(nn.Module):
    """Views to image features; pooling and projector are inside."""

    def __init__(self, model: Molmo) -> None:
        super().__init__()
        self.root = model

    def forward(self, pixel_values: Tensor, image_masks: Tensor, feature_index: Tensor) -> Tensor:
        """[views, 3, 336, 336], [views, 24 * 24], int64 [image features] -> [image features, hidden]

        See `Molmo.packed`.
        """
        return self.root.packed(pixel_values, image_masks, feature_index)


class EmbedTokens(nn.Module):
    """Token ids to embeddings, with the image features added."""

    def __init__(self, model: Molmo) -> None:
        super().__init__()
        self.root = model

    def forward(self, input_ids: Tensor, image_features: Tensor) -> Tensor:
        """int64 [batch, tokens], [image features, hidden] -> [batch, tokens, hidden]"""
        return self.root.embed(input_ids, image_features)


class Decoder(nn.Module):
    """Embeddings and KV cache to the next token's logits; positions follow from the number of ones in the mask."""

    def __init__(self, model: Molmo) -> None:
        super().__init__()
        self.root = model

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        """
        Args:
            inputs_embeds: [batch, tokens, hidden]
            attention_mask: int64 [batch, past + tokens], 1 for what is there
            past: per layer a key and a value, [batch, num_kv_heads, past, head_dim]

        Returns:
            logits of the last token [batch, 1, embedding_size]; then the grown cache in the order of `past`
        """
        tokens, transformer = inputs_embeds.shape[1], self.root.model.transformer
        positions = attention_mask.sum(1, keepdim=True) - tokens + torch.arange(tokens)
        pairs = list(zip(past[0::2], past[1::2], strict=True))
        hidden, present = transformer(inputs_embeds, positions, attention_mask, pairs)
        return transformer.ff_out(hidden[:, -1:]), *(tensor for key_value in present for tensor in key_value)


def graphs(model: Molmo) -> tuple[GraphSpec, ...]:
    """The deployable parts, in the order in which a prompt runs through them."""
    params = model.params
    features = TensorSpec("image_features", "float32", ("image_tokens", params.hidden_size))
    embeds = TensorSpec("inputs_embeds", "float32", ("batch", "tokens", params.hidden_size))
    cached, grown = (
        cache_specs(name, length, params.decoder.num_kv_heads, params.decoder.head_dim, params.num_hidden_layers)
        for name, length in (("past_key_values", "past"), ("present", "total"))
    )
    return (
        GraphSpec(
            "vision_encoder",
            VisionEncoder(model),
            inputs=(
                TensorSpec("pixel_values", "float32", ("views", 3, SIDE, SIDE)),
                TensorSpec("image_masks", "float32", ("views", PATCHES**2)),
                TensorSpec("feature_index", "int64", ("image_tokens",)),
            ),
            outputs=(features,),
        ),
        GraphSpec(
            "embed_tokens",
            EmbedTokens(model),
            inputs=(TensorSpec("input_ids", "int64", ("batch", "tokens")), features),
            outputs=(embeds,),
        ),
        GraphSpec(
            "decoder",
            Decoder(model),
            inputs=(embeds, TensorSpec("attention_mask", "int64", ("batch", "total")), *cached),
            outputs=(TensorSpec("logits", "float32", ("batch", 1, params.embedding_size)), *grown),
        ),
    )


def _owner(module: str) -> str:
    if module.startswith("model.vision_backbone"):
        return "vision_encoder"
    return "embed_tokens" if module.startswith("model.transformer.wte") else "decoder"


SPLIT = ModelSplit(("vision_encoder", "embed_tokens", "decoder"), _owner, graphs)
"""The split for targets with dynamic shapes."""
