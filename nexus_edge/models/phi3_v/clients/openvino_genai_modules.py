"""The parts of Phi-3-Vision as OpenVINO GenAI's VLMPipeline wants them: the HD layout is done between two of them."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nexus_edge.layers.hd_assembly import GLOBAL_TOKENS
from nexus_edge.models.phi3_v.model import Phi3V

FEATURES = 1024
"""Width of a patch's features that VLMPipeline expects: CLIP ViT-L's. A narrower tower's are filled up with zeros."""

SEPARATORS = tuple(f"model.vision_embed_tokens.{name}" for name in ("sub_GN", "glb_GN"))
"""Tensors of the model that go into config.json."""

PATCHES = 4
"""Neighbouring patches that it joins into one token."""


class VisionEmbeddings(nn.Module):
    """Crops to patch features."""

    def __init__(self, model: Phi3V) -> None:
        super().__init__()
        self.root = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        """[crops, 3, 336, 336] -> [crops, 576, FEATURES]"""
        features = self.root.model.vision_embed_tokens.img_processor["vision_model"](pixel_values)
        missing = FEATURES - features.shape[-1]
        return pad(features, (0, missing)) if missing else features


class VisionProjection(nn.Module):
    """Joined patches, and separators, of one image to the decoder's width.

    VLMPipeline knows one order of the HD layout, the crops first, and calls this once per image. A model that wants the
    global view first has its rows moved here.
    """

    def __init__(self, model: Phi3V) -> None:
        super().__init__()
        self.root = model

    def forward(self, patches: Tensor) -> Tensor:
        """[batch, tokens, PATCHES * FEATURES], crops first -> [batch, tokens, hidden], in the model's order"""
        width = self.root.params.vision.hidden_size
        if width != FEATURES:
            patches = patches.unflatten(-1, (PATCHES, FEATURES))[..., :width].flatten(-2)
        if self.root.params.global_first:
            patches = global_view_first(patches)
        return self.root.model.vision_embed_tokens.img_projection(patches)


class TextEmbeddings(nn.Module):
    """Token ids to embeddings."""

    def __init__(self, model: Phi3V) -> None:
        super().__init__()
        self.root = model

    def forward(self, input_ids: Tensor) -> Tensor:
        """int64 [batch, tokens] -> [batch, tokens, hidden]"""
        return self.root.model.embed_tokens(input_ids)


class LanguageModel(nn.Module):
    """Embeddings and KV cache to the logits of every token.

    LongRoPE's list follows from the largest position of the call, since nothing else is left when a runtime replaces
    the attention by a paged one.
    """

    def __init__(self, model: Phi3V) -> None:
        super().__init__()
        self.root = model

    def forward(
        self, inputs_embeds: Tensor, attention_mask: Tensor, position_ids: Tensor, *past: Tensor
    ) -> tuple[Tensor, ...]:
        """
        Args:
            inputs_embeds: [batch, tokens, hidden]
            attention_mask: int64 [batch, past + tokens], 1 for what is there
            position_ids: int64 [batch, tokens]
            past: per layer a key and a value, [batch, num_kv_heads, past, head_dim]

        Returns:
            logits [batch, tokens, vocab]; then the grown cache in the order of `past`
        """
        pairs = list(zip(past[0::2], past[1::2], strict=True))
        length = position_ids.amax((0, 1)) + 1
        hidden, present = self.root.decode(inputs_embeds, position_ids, length, attention_mask, pairs)
        return self.root.lm_head(hidden), *(tensor for key_value in present for tensor in key_value)


def global_view_first(patches: Tensor) -> Tensor:
    """[batch, tokens, width]: crops, separator, global view -> global view, separator, crops."""
    tokens = patches.shape[1]
    place = torch.arange(tokens, device=patches.device)
    source = torch.where(place < GLOBAL_TOKENS, place + tokens - GLOBAL_TOKENS, place - GLOBAL_TOKENS - 1)
    source = torch.where(place == GLOBAL_TOKENS, tokens - GLOBAL_TOKENS - 1, source)
    return patches.index_select(1, source)


def padded_separator(separator: Tensor, width: int) -> Tensor:
    """`sub_GN` or `glb_GN`, [..., PATCHES * width], as VLMPipeline puts it between joined patches of FEATURES each."""
    return pad(separator.unflatten(-1, (PATCHES, width)), (0, FEATURES - width)).flatten(-2)
