"""Phi-3-Vision and Phi-3.5-Vision (Phi-3 technical report, arXiv 2404.14219).

Module names reproduce the checkpoint's keys, so `state_dict()` and the safetensors index name the same tensors.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nexus_edge.interfaces.weights import Fused, WeightRules
from nexus_edge.layers.clip_vision import ClipVisionTower
from nexus_edge.layers.decoder import DecoderLayer, RMSNorm
from nexus_edge.layers.hd_assembly import CropLayout, assemble, existing_crops, merge_patches
from nexus_edge.layers.image_rows import image_rows
from nexus_edge.layers.kv_cache import KVCache, positions_of
from nexus_edge.layers.long_rope import LongRope, inverse_frequencies
from nexus_edge.layers.params import DecoderParams
from nexus_edge.models.base import DecoderNames, VisionLanguageModel
from nexus_edge.models.phi3_v.params import Phi3VisionParams

# The original module keeps a reference to the token embedding inside the vision module, so a fine-tune's state_dict has
# it twice; some re-saved checkpoints carry CLIP's position index buffer.
_RENAMED = {"model.vision_embed_tokens.wte.weight": "model.embed_tokens.weight"}
# Conversions to Llama's layout hold these apart.
_FUSED = (Fused("qkv_proj", ("q_proj", "k_proj", "v_proj")), Fused("gate_up_proj", ("gate_proj", "up_proj")))


def weight_rules(config: Mapping[str, Any]) -> WeightRules:
    """What a checkpoint may hold beyond the model's tensors, and which of these it may lack."""
    tied = {"lm_head.weight": "model.embed_tokens.weight"} if config.get("tie_word_embeddings") else {}
    return WeightRules(rename=_RENAMED, fuse=_FUSED, tie=tied, ignore=("*.position_ids",))


def build(config: Mapping[str, Any]) -> "Phi3V":
    """The model that a checkpoint's `config.json` describes, on the default device, in eval mode."""
    return Phi3V(Phi3VisionParams.from_json(config)).eval()


class ImageEmbedding(nn.Module):
    """Pixels to image features in the decoder's width: CLIP tower, HD layout, projector."""

    def __init__(self, params: Phi3VisionParams) -> None:
        super().__init__()
        merged = 4 * params.vision.hidden_size
        self.global_first = params.global_first
        self.img_processor = nn.ModuleDict({"vision_model": ClipVisionTower(params.vision)})
        self.sub_GN = nn.Parameter(torch.zeros(1, 1, 1, merged))
        self.glb_GN = nn.Parameter(torch.zeros(1, 1, merged))
        self.img_projection = nn.Sequential(
            nn.Linear(merged, params.hidden_size), nn.GELU(), nn.Linear(params.hidden_size, params.hidden_size)
        )

    def forward(self, pixel_values: Tensor, image_sizes: Tensor) -> Tensor:
        """
        Args:
            pixel_values: [images, crops, 3, 336, 336]; the global view, the crops row by row, then padding
            image_sizes: int64 [images, 2], padded height and width in pixels, multiples of 336

        Returns:
            [image tokens of all images, hidden]
        """
        layout = CropLayout.of(image_sizes)
        features = self.img_processor["vision_model"](existing_crops(pixel_values, layout))
        separators = self.sub_GN.flatten(0, 2), self.glb_GN.flatten(0, 1)
        tokens = assemble(merge_patches(features), *separators, layout, global_first=self.global_first)
        return self.img_projection(tokens)


class Phi3Model(nn.Module):
    """Everything but the language head."""

    def __init__(self, params: Phi3VisionParams) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(params.vocab_size, params.hidden_size)
        self.vision_embed_tokens = ImageEmbedding(params)
        self.layers = nn.ModuleList(DecoderLayer(params.decoder) for _ in range(params.num_hidden_layers))
        self.norm = RMSNorm(params.hidden_size, params.decoder.rms_norm_eps)
        self.rope = LongRope(params.rope)

    def embed(self, input_ids: Tensor, image_features: Tensor) -> Tensor:
        """Token embeddings, with the image features in their order at the negative ids.

        Args:
            input_ids: int64 [batch, tokens]
            image_features: [image tokens, hidden], as many rows as there are negative ids

        Returns:
            [batch, tokens, hidden]
        """
        is_image = input_ids < 0
        images = image_rows(is_image, image_features)
        return torch.where(is_image.unsqueeze(-1), images, self.embed_tokens(input_ids.clamp(min=0)))


class Phi3V(VisionLanguageModel):
    """The reference model: images and token ids in, logits out."""

    decoder_names = DecoderNames("model.embed_tokens", "model.layers", "model.norm", "lm_head")

    def __init__(self, params: Phi3VisionParams) -> None:
        super().__init__()
        self.params = params
        self.model = Phi3Model(params)
        self.lm_head = nn.Linear(params.hidden_size, params.vocab_size, bias=False)

    def forward(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """
        Args:
            input_ids: int64 [batch, tokens]; a negative id is a place for an image feature
            pixel_values: [images, crops, 3, 336, 336], with image_sizes int64 [images, 2]
            attention_mask: int64 [batch, cached + tokens], 0 for padding on the left; default: no padding
            cache: grown in place; the tokens are then the continuation of what it holds

        Returns:
            logits, float32 [batch, tokens, vocab]
        """
        cache = KVCache() if cache is None else cache
        features = self.image_features(pixel_values, image_sizes)
        embeds = self.model.embed(input_ids, features)
        tokens, history = embeds.shape[1], cache.inputs_embeds
        joined = embeds if history is None else torch.cat((history, embeds), dim=1)
        if attention_mask is None:
            attention_mask = cache.extended_mask(input_ids)
        positions = positions_of(attention_mask)
        past = cache.layers
        if cache.length and self._crosses_limit(positions, cache.length):
            past, embeds = [], joined
        hidden, cache.layers = self.decode(
            embeds,
            positions[:, -embeds.shape[1] :],
            positions.max() + 1,
            attention_mask,
            past or self.empty_past(embeds),
        )
        cache.inputs_embeds, cache.attention_mask = joined, attention_mask
        return self.logits(hidden[:, -tokens:]).float()

    def image_features(self, pixel_values: Tensor | None, image_sizes: Tensor | None) -> Tensor:
        """Image features of all images, [image tokens, hidden]; no rows without images."""
        if pixel_values is None or image_sizes is None:
            return self.model.norm.weight.new_zeros(0, self.params.hidden_size)
        features: Tensor = self.model.vision_embed_tokens(pixel_values.to(self.model.norm.weight.dtype), image_sizes)
        return features

    def embed(self, input_ids: Tensor, image_features: Tensor) -> Tensor:
        """See `Phi3Model.embed`."""
        return self.model.embed(input_ids, image_features)

    def rotation(self, position_ids: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `VisionLanguageModel.rotation`."""
        cos, sin = self.model.rope(position_ids, length)
        return cos, sin

    @property
    def decoder_params(self) -> DecoderParams:
        """See `VisionLanguageModel.decoder_params`."""
        return self.params.decoder

    @property
    def context_length(self) -> int:
        """Most tokens, prompt and answer together."""
        return self.params.max_position_embeddings

    @property
    def vocab_size(self) -> int:
        """Ids that the model has embeddings for."""
        return self.params.vocab_size

    def constants(self) -> dict[str, Tensor]:
        """The LongRoPE tables."""
        return {f"model.rope.{name}": table for name, table in inverse_frequencies(self.params.rope).items()}

    def _crosses_limit(self, positions: Tensor, cached: int) -> bool:
        limit = self.params.rope.original_max_position_embeddings
        return bool(positions.max() >= limit) and bool(positions[:, :cached].max() < limit)
