"""Molmo's way from pixels to image features: CLIP's tower, padding marks, attention pooling, projector.

Module names are those of the checkpoints (`model.vision_backbone.*`). Source: Molmo and PixMo (arXiv 2409.17146); the
tower is ViT-L/14 of CLIP (arXiv 2103.00020).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from nexus_edge.layers.activations import quick_gelu
from nexus_edge.models.molmo.crops import PATCH, PATCHES, TOKENS
from nexus_edge.models.molmo.params import MolmoParams
from nexus_edge.ops.attention import attention


class MultiHeadAttention(nn.Module):
    """Attention of the tower and of the pooling, whose inputs are wider than what it computes with."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.wq, self.wk, self.wv = (nn.Linear(width, hidden) for _ in range(3))
        self.wo = nn.Linear(hidden, hidden)

    def forward(self, query: Tensor, others: Tensor) -> Tensor:
        """[batch, queries, width], [batch, tokens, width] -> [batch, queries, hidden]"""
        return self.wo(attention(self.wq(query), self.wk(others), self.wv(others), self.num_heads))


class FeedForward(nn.Module):
    """Two layers with CLIP's quick GELU between them."""

    def __init__(self, hidden: int, intermediate: int) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(hidden, intermediate), nn.Linear(intermediate, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[views, tokens, hidden] -> the same shape"""
        return self.w2(quick_gelu(self.w1(x)))


class ResidualBlock(nn.Module):
    """One pre-norm block."""

    def __init__(self, params: MolmoParams) -> None:
        super().__init__()
        vision = params.vision
        self.attention_norm = nn.LayerNorm(vision.hidden_size, vision.layer_norm_eps)
        self.attention = MultiHeadAttention(vision.hidden_size, vision.hidden_size, vision.num_attention_heads)
        self.ffn_norm = nn.LayerNorm(vision.hidden_size, vision.layer_norm_eps)
        self.feed_forward = FeedForward(vision.hidden_size, vision.intermediate_size)

    def forward(self, x: Tensor) -> Tensor:
        """[views, tokens, hidden] -> the same shape"""
        normed = self.attention_norm(x)
        x = x + self.attention(normed, normed)
        return x + self.feed_forward(self.ffn_norm(x))


class BlockStack(nn.Module):
    """The blocks up to the last that features are taken from; those after it are held, as checkpoints hold them."""

    def __init__(self, params: MolmoParams) -> None:
        super().__init__()
        self.taken = params.feature_layers
        self.resblocks = nn.ModuleList(ResidualBlock(params) for _ in range(params.vision.num_hidden_layers))

    def forward(self, x: Tensor) -> Tensor:
        """[views, tokens, hidden] -> [views, tokens, layers * hidden], the outputs of some layers side by side"""
        outputs = []
        for block in self.resblocks[: max(self.taken) + 1]:
            x = block(x)
            outputs.append(x)
        return torch.cat([outputs[layer] for layer in self.taken], dim=-1)


class VisionTransformer(nn.Module):
    """Pixels to the joined layers of CLIP's tower, the class token first."""

    def __init__(self, params: MolmoParams) -> None:
        super().__init__()
        vision = params.vision
        self.class_embedding = nn.Parameter(torch.zeros(vision.hidden_size))
        self.positional_embedding = nn.Parameter(torch.zeros(PATCHES**2 + 1, vision.hidden_size))
        self.patch_embedding = nn.Linear(3 * PATCH**2, vision.hidden_size, bias=False)
        self.pre_ln = nn.LayerNorm(vision.hidden_size, vision.layer_norm_eps)
        self.transformer = BlockStack(params)

    def forward(self, pixels: Tensor) -> Tensor:
        """[views, 3, 336, 336] -> [views, 1 + 24 * 24, layers * hidden]"""
        blocks = pixels.reshape(-1, 3, PATCHES, PATCH, PATCHES, PATCH).permute(0, 2, 4, 3, 5, 1)
        patches = self.patch_embedding(blocks.reshape(-1, PATCHES**2, 3 * PATCH**2))
        class_token = self.class_embedding.expand(patches.shape[0], 1, -1)
        return self.transformer(self.pre_ln(torch.cat((class_token, patches), dim=1) + self.positional_embedding))


class Projector(nn.Module):
    """Pooled features to the decoder's width, gated by silu."""

    def __init__(self, params: MolmoParams) -> None:
        super().__init__()
        hidden, intermediate = params.vision.hidden_size, params.decoder.intermediate_size
        self.w1, self.w3 = (nn.Linear(hidden, intermediate, bias=False) for _ in range(2))
        self.w2 = nn.Linear(intermediate, params.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., vision hidden] -> [..., hidden]"""
        return self.w2(silu(self.w1(x)) * self.w3(x))


class VisionBackbone(nn.Module):
    """Views to image features, those of one view row by row."""

    def __init__(self, params: MolmoParams) -> None:
        super().__init__()
        vision = params.vision
        self.image_vit = VisionTransformer(params)
        self.pad_embed = nn.Parameter(torch.zeros(2, params.joined_size))
        self.image_pooling_2d = MultiHeadAttention(params.joined_size, vision.hidden_size, vision.num_attention_heads)
        self.image_projector = Projector(params)

    def forward(self, pixels: Tensor, masks: Tensor) -> Tensor:
        """
        Args:
            pixels: [views, 3, 336, 336]
            masks: [views, 24 * 24], which share of a patch is no padding; see `CropLayout.masks`

        Returns:
            [views, 12 * 12, hidden]
        """
        features = self.mark_padding(self.image_vit(pixels)[:, 1:], masks)
        blocks = features.view(-1, TOKENS, 2, TOKENS, 2, features.shape[-1]).permute(0, 1, 3, 2, 4, 5)
        blocks = blocks.reshape(-1, 4, features.shape[-1])
        pooled = self.image_pooling_2d(blocks.mean(1, keepdim=True), blocks)
        return self.image_projector(pooled.view(-1, TOKENS**2, pooled.shape[-1]))

    def mark_padding(self, features: Tensor, masks: Tensor) -> Tensor:
        """Add one vector to patches that are all padding, another to those that are so in part; the same shape.

        The mask of -1 that the last view has counts as a part, as in the original.
        """
        whole, part = masks == 0, (masks < 1) & (masks != 0)
        kinds = torch.stack((whole, part), dim=-1).to(features.dtype)
        return features + kinds @ self.pad_embed
