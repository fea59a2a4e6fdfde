"""Molmo (arXiv 2409.17146), September 2024: 7B-D and 72B with Qwen2's decoder, 7B-O with OLMo's.

Image features are added to the embeddings of image tokens, not put in their place. Module names are the keys of the
published checkpoints, but for the two tables of embeddings, which are bare tensors there.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nexus_edge.errors import InputError
from nexus_edge.interfaces.weights import WeightRules
from nexus_edge.layers.decoder import RMSNorm
from nexus_edge.layers.params import DecoderParams
from nexus_edge.layers.rope import Rope, inverse_frequencies
from nexus_edge.models.base import DecoderNames, VisionLanguageModel
from nexus_edge.models.molmo.crops import NO_VIEW, TOKENS, layout_of_views
from nexus_edge.models.molmo.decoder import Block, Embedding, feature_rows
from nexus_edge.models.molmo.params import MolmoParams
from nexus_edge.models.molmo.vision import VisionBackbone

_TABLES = ("model.transformer.wte.embedding", "model.transformer.wte.new_embedding")


def weight_rules(config: Mapping[str, Any]) -> WeightRules:
    """What a checkpoint may hold beyond the model's tensors, and under which other names it holds them."""
    return WeightRules(rename={name: f"{name}.weight" for name in _TABLES}, ignore=("*.rotary_emb.inv_freq",))


def build(config: Mapping[str, Any]) -> "Molmo":
    """The model that a checkpoint's `config.json` describes, on the default device, in eval mode."""
    return Molmo(MolmoParams.from_json(config)).eval()


class Transformer(nn.Module):
    """The decoder with its language head."""

    def __init__(self, params: MolmoParams) -> None:
        super().__init__()
        decoder = params.decoder
        self.wte = Embedding(params)
        self.blocks = nn.ModuleList(Block(params) for _ in range(params.num_hidden_layers))
        self.ln_f = RMSNorm(decoder.hidden_size, decoder.rms_norm_eps)
        self.ff_out = nn.Linear(decoder.hidden_size, params.embedding_size, bias=False)
        self.rope = Rope(params.rope_theta, decoder.head_dim)


class MolmoModel(nn.Module):
    """The two halves."""

    def __init__(self, params: MolmoParams) -> None:
        super().__init__()
        self.vision_backbone = VisionBackbone(params)
        self.transformer = Transformer(params)


class Molmo(VisionLanguageModel):
    """The reference model: an image and token ids in, logits out."""

    decoder_names = DecoderNames(
        "model.transformer.wte", "model.transformer.blocks", "model.transformer.ln_f", "model.transformer.ff_out"
    )

    def __init__(self, params: MolmoParams) -> None:
        super().__init__()
        self.params = params
        self.model = MolmoModel(params)

    def image_features(self, pixel_values: Tensor | None, image_sizes: Tensor | None) -> Tensor:
        """Image features in the order of their tokens, [image features, hidden]; no rows without an image.

        Args:
            pixel_values: [images, views, 3, 336, 336]; a view of -1 everywhere fills up the batch
            image_sizes: int64 [images, 2], height and width as given

        Raises:
            InputError: an image has another number of views
        """
        weight = self.model.vision_backbone.pad_embed
        if pixel_values is None or image_sizes is None:
            return weight.new_zeros(0, self.params.hidden_size)
        views, masks, index, first = [], [], [], 0
        for pixels, (height, width) in zip(pixel_values, image_sizes.tolist(), strict=True):
            real = pixels[(pixels != NO_VIEW).flatten(1).any(1)]
            layout = layout_of_views(height, width, len(real))
            views.append(real)
            masks.append(torch.from_numpy(layout.masks()))
            index.append(torch.from_numpy(layout.feature_index()) + first * TOKENS**2)
            first += len(real)
        arrays = torch.cat(views).to(weight.dtype), torch.cat(masks), torch.cat(index)
        return self.packed(*(array.to(weight.device) for array in arrays))

    def packed(self, views: Tensor, masks: Tensor, feature_index: Tensor) -> Tensor:
        """Features in reading order.

        Args:
            views: [views, 3, 336, 336]
            masks: [views, 24 * 24]
            feature_index: int64 [image features], rows of the features [views * 12 * 12]

        Returns:
            [image features, hidden]
        """
        return self.model.vision_backbone(views, masks).flatten(0, 1).index_select(0, feature_index)

    def embed(self, input_ids: Tensor, image_features: Tensor) -> Tensor:
        """Token embeddings, with the image features added in their order to those of <im_patch>.

        Args:
            input_ids: int64 [batch, tokens]
            image_features: [image features, hidden]; a graph takes none as well, and adds nothing then

        Returns:
            [batch, tokens, hidden]

        Raises:
            InputError: there are more or fewer <im_patch> than features
        """
        is_image = input_ids == self.params.patch_token
        if not torch.compiler.is_exporting() and (tokens := int(is_image.sum())) != len(image_features):
            raise InputError(f"input_ids have {tokens} image tokens, and the image {len(image_features)} features")
        return self.model.transformer.wte(input_ids) + feature_rows(is_image, image_features)

    def rotation(self, position_ids: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `VisionLanguageModel.rotation`; plain RoPE is the same for every length."""
        cos, sin = self.model.transformer.rope(position_ids)
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
        """Ids that the model has embeddings for, those of images included; it predicts fewer."""
        return self.params.embedding_size + self.params.new_ids

    def constants(self) -> dict[str, Tensor]:
        """The table of RoPE."""
        return {
            "model.transformer.rope.inv_freq": inverse_frequencies(self.params.rope_theta, self.params.decoder.head_dim)
        }
