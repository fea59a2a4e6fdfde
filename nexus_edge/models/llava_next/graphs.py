"""LLaVA-NeXT in three graphs: views to image features, ids to embeddings, embeddings to logits.

Which feature goes where depends on roundings of float64 that not every runtime keeps, so the host computes it
(`AnyRes.layout` and `ViewLayout.feature_index`) and the vision encoder takes the index.
"""

import torch
from torch import Tensor, nn

from nexus_edge.bundle import TensorSpec
from nexus_edge.interfaces.graph import GraphSpec, ModelSplit
from nexus_edge.layers.kv_cache import cache_specs
from nexus_edge.models.llava_next.model import LlavaNext


class VisionEncoder(nn.Module):
    """Views to image features; projector and newline are inside."""

    def __init__(self, model: LlavaNext) -> None:
        super().__init__()
        self.root = model

    def forward(self, pixel_values: Tensor, feature_index: Tensor) -> Tensor:
        """[views, 3, side, side], int64 [image tokens] -> [image tokens, hidden]; see `LlavaNext.packed`"""
        return self.root.packed(pixel_values, feature_index)


class EmbedTokens(nn.Module):
    """Token ids to embeddings, with the image features at the image tokens."""

    def __init__(self, model: LlavaNext) -> None:
        super().__init__()
        self.root = model

    def forward(self, input_ids: Tensor, image_features: Tensor) -> Tensor:
        """int64 [batch, tokens], [image tokens, hidden] -> [batch, tokens, hidden]"""
        return self.root.embed(input_ids, image_features)


class Decoder(nn.Module):
    """Embeddings and KV cache to the next token's logits; positions follow from the number of ones in the mask."""

    def __init__(self, model: LlavaNext) -> None:
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
        tokens, llama = inputs_embeds.shape[1], self.root.language_model
        positions = attention_mask.sum(1, keepdim=True) - tokens + torch.arange(tokens)
        pairs = list(zip(past[0::2], past[1::2], strict=True))
        hidden, present = llama.model(inputs_embeds, positions, attention_mask, pairs)
        return llama.lm_head(hidden[:, -1:]), *(tensor for key_value in present for tensor in key_value)


def graphs(model: LlavaNext) -> tuple[GraphSpec, ...]:
    """The deployable parts, in the order in which a prompt runs through them."""
    text, side = model.params.text, model.params.anyres.side
    hidden, heads, head_dim = text.hidden_size, text.decoder.num_kv_heads, text.decoder.head_dim
    features = TensorSpec("image_features", "float32", ("image_tokens", hidden))
    embeds = TensorSpec("inputs_embeds", "float32", ("batch", "tokens", hidden))
    cached, grown = (
        cache_specs(name, length, heads, head_dim, text.num_hidden_layers)
        for name, length in (("past_key_values", "past"), ("present", "total"))
    )
    return (
        GraphSpec(
            "vision_encoder",
            VisionEncoder(model),
            inputs=(
                TensorSpec("pixel_values", "float32", ("views", 3, side, side)),
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
            outputs=(TensorSpec("logits", "float32", ("batch", 1, text.vocab_size)), *grown),
        ),
    )


def _owner(module: str) -> str:
    if module.startswith(("vision_tower.", "multi_modal_projector.")) or module == "image_newline":
        return "vision_encoder"
    return "embed_tokens" if module == "language_model.model.embed_tokens" else "decoder"


SPLIT = ModelSplit(("vision_encoder", "embed_tokens", "decoder"), _owner, graphs)
