"""LLaVA-NeXT (LLaVA-v1.6, January 2024; base paper arXiv 2310.03744) with Mistral, Vicuna and Yi decoders.

Module names are the keys of the published checkpoints, whose layout transformers writes to this day; `weight_rules`
knows the names that its modules have since 4.52.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nexus_edge.errors import InputError
from nexus_edge.interfaces.weights import WeightRules
from nexus_edge.layers.activations import ACTIVATIONS
from nexus_edge.layers.clip_vision import ClipVisionTower
from nexus_edge.layers.image_rows import image_rows
from nexus_edge.layers.llama import Llama
from nexus_edge.layers.params import DecoderParams
from nexus_edge.layers.rope import inverse_frequencies
from nexus_edge.models.base import DecoderNames, VisionLanguageModel
from nexus_edge.models.llava_next.params import LlavaNextParams

_HEAD, _EMBEDDING = "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"
# Names of the modules since transformers 4.52, whose vision tower lost a level in 5, also in files of models that were
# made there -> names in the published files.
_MODULES = {
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
    "model.vision_tower.vision_model.": "vision_tower.vision_model.",
    "model.vision_tower.": "vision_tower.vision_model.",
    "vision_tower.": "vision_tower.vision_model.",
    "model.multi_modal_projector.": "multi_modal_projector.",
    "model.image_newline": "image_newline",
}


def weight_rules(config: Mapping[str, Any]) -> WeightRules:
    """What a checkpoint may hold beyond the model's tensors, and which of these it may lack."""
    tied = {_HEAD: _EMBEDDING} if config.get("tie_word_embeddings") else {}
    return WeightRules(prefixes=_MODULES, ignore=("*.position_ids", "*.rotary_emb.inv_freq"), tie=tied)


def build(config: Mapping[str, Any]) -> "LlavaNext":
    """The model that a checkpoint's `config.json` describes, on the default device, in eval mode."""
    return LlavaNext(LlavaNextParams.from_json(config)).eval()


class Projector(nn.Module):
    """Patch features to the decoder's width."""

    def __init__(self, params: LlavaNextParams) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[params.projector_act]
        self.linear_1 = nn.Linear(params.vision.hidden_size, params.text.hidden_size, bias=params.projector_bias)
        self.linear_2 = nn.Linear(params.text.hidden_size, params.text.hidden_size, bias=params.projector_bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., vision hidden] -> [..., hidden]"""
        return self.linear_2(self.activation(self.linear_1(x)))


class LlavaNext(VisionLanguageModel):
    """The reference model: images and token ids in, logits out."""

    decoder_names = DecoderNames(
        "language_model.model.embed_tokens",
        "language_model.model.layers",
        "language_model.model.norm",
        "language_model.lm_head",
    )

    def __init__(self, params: LlavaNextParams) -> None:
        super().__init__()
        self.params = params
        self.vision_tower = nn.ModuleDict({"vision_model": ClipVisionTower(params.vision)})
        self.multi_modal_projector = Projector(params)
        self.image_newline = nn.Parameter(torch.zeros(params.text.hidden_size))
        self.language_model = Llama(params.text)

    def image_features(self, pixel_values: Tensor | None, image_sizes: Tensor | None) -> Tensor:
        """Image features of all images, [image tokens, hidden]; no rows without images.

        Args:
            pixel_values: [images, views, 3, side, side]
            image_sizes: int64 [images, 2], height and width as given

        Raises:
            InputError: an image has fewer views than its size takes
        """
        if pixel_values is None or image_sizes is None:
            return self.image_newline.new_zeros(0, self.params.text.hidden_size)
        layouts = [self.params.anyres.layout(height, width) for height, width in image_sizes.tolist()]
        most = max(layout.num_views for layout in layouts)
        if pixel_values.ndim != 5 or len(pixel_values) != len(layouts) or pixel_values.shape[1] < most:
            raise InputError(
                f"pixel_values is {list(pixel_values.shape)}; {len(layouts)} images of these sizes take {most} views, "
                "[images, views, 3, side, side]"
            )
        views = torch.cat([one[: layout.num_views] for one, layout in zip(pixel_values, layouts, strict=True)])
        newline, first, index = len(views) * self.params.anyres.patches**2, 0, []
        for layout in layouts:
            index.append(torch.from_numpy(layout.feature_index(first, newline)))
            first += layout.num_views
        return self.packed(views.to(self.image_newline.dtype), torch.cat(index).to(views.device))

    def packed(self, views: Tensor, feature_index: Tensor) -> Tensor:
        """Features in reading order.

        Args:
            views: [views, 3, side, side] of all images
            feature_index: int64 [image tokens], rows of the features [views * patches * patches]; one more: the newline

        Returns:
            [image tokens, hidden]
        """
        features = self.multi_modal_projector(self.vision_tower["vision_model"](views)).flatten(0, 1)
        return torch.cat((features, self.image_newline.unsqueeze(0))).index_select(0, feature_index)

    def embed(self, input_ids: Tensor, image_features: Tensor) -> Tensor:
        """Token embeddings, with the image features in their order at the image tokens.

        Without features an image token is text, as in the original: an answer may hold one.

        Args:
            input_ids: int64 [batch, tokens]
            image_features: [image tokens, hidden]

        Returns:
            [batch, tokens, hidden]

        Raises:
            InputError: there are more or fewer image tokens than features
        """
        rows = torch.full((), image_features.shape[0], dtype=torch.int64)
        is_image = (input_ids == self.params.image_token) & (rows > 0)
        if not torch.compiler.is_exporting() and (tokens := int(is_image.sum())) != len(image_features):
            raise InputError(f"input_ids have {tokens} image tokens, and the images {len(image_features)} features")
        images = image_rows(is_image, image_features)
        return torch.where(is_image.unsqueeze(-1), images, self.language_model.model.embed_tokens(input_ids))

    def rotation(self, position_ids: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `VisionLanguageModel.rotation`; plain RoPE is the same for every length."""
        cos, sin = self.language_model.model.rope(position_ids)
        return cos, sin

    @property
    def decoder_params(self) -> DecoderParams:
        """See `VisionLanguageModel.decoder_params`."""
        return self.params.text.decoder

    @property
    def context_length(self) -> int:
        """Most tokens, prompt and answer together."""
        return self.params.text.max_position_embeddings

    @property
    def vocab_size(self) -> int:
        """Ids that the model has embeddings for."""
        return self.params.text.vocab_size

    def constants(self) -> dict[str, Tensor]:
        """The table of RoPE."""
        text = self.params.text
        return {"language_model.model.rope.inv_freq": inverse_frequencies(text.rope_theta, text.decoder.head_dim)}
