"""Phi-3-Vision in three graphs, named and shaped as ONNX Runtime GenAI expects them."""

import torch
from torch import Tensor, nn

from nexus_edge.bundle import TensorSpec
from nexus_edge.interfaces.graph import GraphSpec, ModelSplit
from nexus_edge.layers.kv_cache import cache_specs
from nexus_edge.models.phi3_v.model import Phi3V


class VisionEncoder(nn.Module):
    """Pixels to image features; HD layout, separators and projector are inside."""

    def __init__(self, model: Phi3V) -> None:
        super().__init__()
        self.root = model

    def forward(self, pixel_values: Tensor, image_sizes: Tensor) -> Tensor:
        """[pictures, crops, 3, 336, 336], int64 [pictures, 2] -> [image tokens, hidden]"""
        return self.root.model.vision_embed_tokens(pixel_values, image_sizes)


class EmbedTokens(nn.Module):
    """Token ids to embeddings, with the image features in place."""

    def __init__(self, model: Phi3V) -> None:
        super().__init__()
        self.root = model

    def forward(self, input_ids: Tensor, image_features: Tensor) -> Tensor:
        """int64 [batch, tokens], [image tokens, hidden] -> [batch, tokens, hidden]"""
        return self.root.model.embed(input_ids, image_features)


class Decoder(nn.Module):
    """Embeddings and KV cache to the next token's logits.

    Positions follow from the number of ones in the mask. Its width decides about LongRoPE: a runtime that feeds a long
    prompt piece by piece appends zeros, and all pieces use the long list.
    """

    def __init__(self, model: Phi3V) -> None:
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
        hidden, present = self.root.model.decode(inputs_embeds, positions, width, attention_mask, pairs)
        logits = self.root.lm_head(hidden[:, -1:])
        return logits, *(tensor for key_value in present for tensor in key_value)


def graphs(model: Phi3V) -> tuple[GraphSpec, ...]:
    """The deployable parts, in the order in which a prompt runs through them."""
    return _vision_encoder(model), _embed_tokens(model), _decoder(model)


def _vision_encoder(model: Phi3V) -> GraphSpec:
    crop = model.params.vision.image_size
    return GraphSpec(
        "vision_encoder",
        VisionEncoder(model),
        inputs=(
            TensorSpec("pixel_values", "float32", ("pictures", "crops", 3, crop, crop)),
            TensorSpec("image_sizes", "int64", ("pictures", 2)),
        ),
        outputs=(TensorSpec("image_features", "float32", ("image_tokens", model.params.hidden_size)),),
    )


def _embed_tokens(model: Phi3V) -> GraphSpec:
    hidden = model.params.hidden_size
    return GraphSpec(
        "embed_tokens",
        EmbedTokens(model),
        inputs=(
            TensorSpec("input_ids", "int64", ("batch", "tokens")),
            TensorSpec("image_features", "float32", ("image_tokens", hidden)),
        ),
        outputs=(TensorSpec("inputs_embeds", "float32", ("batch", "tokens", hidden)),),
    )


def _decoder(model: Phi3V) -> GraphSpec:
    params = model.params
    heads, head_dim = params.decoder.num_kv_heads, params.decoder.head_dim

    def cache(name: str, length: str) -> tuple[TensorSpec, ...]:
        return cache_specs(name, length, heads, head_dim, params.num_hidden_layers)

    return GraphSpec(
        "decoder",
        Decoder(model),
        inputs=(
            TensorSpec("inputs_embeds", "float32", ("batch", "tokens", params.hidden_size)),
            TensorSpec("attention_mask", "int64", ("batch", "total")),
            *cache("past_key_values", "past"),
        ),
        outputs=(TensorSpec("logits", "float32", ("batch", 1, params.vocab_size)), *cache("present", "total")),
    )


def _owner(module: str) -> str:
    if module.startswith("model.vision_embed_tokens."):
        return "vision_encoder"
    return "embed_tokens" if module == "model.embed_tokens" else "decoder"


SPLIT = ModelSplit(("vision_encoder", "embed_tokens", "decoder"), _owner, graphs)
