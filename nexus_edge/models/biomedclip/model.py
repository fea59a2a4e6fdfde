"""BiomedCLIP (arXiv 2303.00915): open_clip's `CustomTextCLIP` of a vision transformer and a BERT.

Module names reproduce open_clip's keys, so `state_dict()` and the checkpoint name the same tensors.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nexus_edge.interfaces.weights import WeightRules
from nexus_edge.layers.bert import Bert
from nexus_edge.layers.vit import VisionTransformer
from nexus_edge.models.base import DualEncoder
from nexus_edge.models.biomedclip.params import BiomedClipParams

# Transformers before 4.31 stored BERT's position indices, a buffer; the published file still has them.
_POSITION_IDS = "text.transformer.embeddings.position_ids"


def weight_rules(config: Mapping[str, Any]) -> WeightRules:
    """What a checkpoint may hold beyond the model's tensors."""
    return WeightRules(ignore=(_POSITION_IDS,))


def build(config: Mapping[str, Any]) -> "BiomedClip":
    """The model that a checkpoint's configuration describes, on the default device, in eval mode."""
    return BiomedClip(BiomedClipParams.from_json(config)).eval()


class ImageTower(nn.Module):
    """Pixels to a vector in the space that both towers share."""

    def __init__(self, params: BiomedClipParams) -> None:
        super().__init__()
        self.trunk = VisionTransformer(params.vision)
        projection = nn.Linear(params.vision.hidden_size, params.embed_dim, bias=False)
        self.head = nn.Sequential(OrderedDict(proj=projection))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """[batch, 3, image_size, image_size] -> [batch, embed]"""
        return self.head(self.trunk(pixel_values))


class TextTower(nn.Module):
    """Ids to a vector in the space that both towers share."""

    def __init__(self, params: BiomedClipParams) -> None:
        super().__init__()
        hidden = params.text.hidden_size
        between = (hidden + params.embed_dim) // 2
        self.transformer = Bert(params.text)
        self.proj = nn.Sequential(
            nn.Linear(hidden, between, bias=False), nn.GELU(), nn.Linear(between, params.embed_dim, bias=False)
        )

    def forward(self, input_ids: Tensor) -> Tensor:
        """int64 [batch, tokens] -> [batch, embed]"""
        return self.proj(self.transformer(input_ids))


class BiomedClip(DualEncoder):
    """The reference model: images and texts to unit vectors, and to their similarities."""

    def __init__(self, params: BiomedClipParams) -> None:
        super().__init__()
        self.params = params
        self.visual = ImageTower(params)
        self.text = TextTower(params)
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """[batch, 3, image_size, image_size] -> vectors of length 1, [batch, embed]"""
        return normalize(self.visual(pixel_values), dim=-1)

    def encode_text(self, input_ids: Tensor) -> Tensor:
        """int64 [batch, tokens], 0 after the end of a text -> vectors of length 1, [batch, embed]"""
        return normalize(self.text(input_ids), dim=-1)

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
        """
        Args:
            pixel_values: [images, 3, image_size, image_size]
            input_ids: int64 [texts, tokens], 0 after the end of a text

        Returns:
            logits, [images, texts]: cosines times exp(logit_scale)
        """
        return self.logit_scale.exp() * self.encode_image(pixel_values) @ self.encode_text(input_ids).T

    @property
    def embed_dim(self) -> int:
        """Length of an embedding."""
        return self.params.embed_dim

    @property
    def context_length(self) -> int:
        """Most tokens of a text, [CLS] and [SEP] included."""
        return self.params.context_length

    @property
    def vocab_size(self) -> int:
        """Ids that the model has embeddings for."""
        return self.params.text.vocab_size

    def constants(self) -> dict[str, Tensor]:
        """None: everything is in the checkpoint."""
        return {}
