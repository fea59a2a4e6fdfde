"""CLIP's vision transformer (arXiv 2103.00020), read out before its last layer as Phi-3-Vision and LLaVA do.

Module names are those of the checkpoints, including `pre_layrnorm`, which is misspelt there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nexus_edge.configs.values import check_multiple, choice, count, layer_count, number
from nexus_edge.layers.activations import ACTIVATIONS
from nexus_edge.ops.attention import attention


@dataclass(frozen=True)
class ClipVisionParams:
    """The numbers of a CLIP tower; the defaults are ViT-L/14 at 336 pixels.

    `depth` is how many layers the features went through: None is all but the last.
    """

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    image_size: int = 336
    patch_size: int = 14
    layer_norm_eps: float = 1e-5
    hidden_act: str = "quick_gelu"
    depth: int | None = None

    @property
    def grid(self) -> int:
        """Patches along one side of a crop."""
        return self.image_size // self.patch_size


CLIP_DEFAULTS = ClipVisionParams()


def read_clip(
    vision: Mapping[str, Any], feature_layer: int, named: str, default: ClipVisionParams = CLIP_DEFAULTS
) -> ClipVisionParams:
    """The numbers of a tower under CLIP's own key names.

    Args:
        vision: the parsed object
        feature_layer: index of the hidden state that is taken, of which the first is the input's; from the end if < 0
        named: the key that says so, for messages
        default: what absent keys mean

    Raises:
        ValueError, TypeError: naming the key that is wrong.
    """
    layers = layer_count(vision, "num_hidden_layers", default.num_hidden_layers)
    depth = feature_layer if feature_layer >= 0 else layers + 1 + feature_layer
    if not 1 <= depth <= layers:
        raise ValueError(f"{named} is {feature_layer}, and the tower has {layers} layers")
    params = ClipVisionParams(
        hidden_size=count(vision, "hidden_size", default.hidden_size),
        intermediate_size=count(vision, "intermediate_size", default.intermediate_size),
        num_hidden_layers=layers,
        num_attention_heads=count(vision, "num_attention_heads", default.num_attention_heads),
        image_size=count(vision, "image_size", default.image_size),
        patch_size=count(vision, "patch_size", default.patch_size),
        layer_norm_eps=number(vision, "layer_norm_eps", default.layer_norm_eps),
        hidden_act=choice(vision, "hidden_act", ACTIVATIONS, default.hidden_act),
        depth=depth,
    )
    check_multiple("vision hidden_size", params.hidden_size, "num_attention_heads", params.num_attention_heads)
    return params


class PositionEmbedding(nn.Module):
    """A table that is added as a whole, never looked up; so it is no nn.Embedding, and no scheme quantizes it."""

    def __init__(self, positions: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(positions, hidden_size))


class ClipEmbeddings(nn.Module):
    """Pixels to patch tokens, with the class token first and a learned position added."""

    def __init__(self, params: ClipVisionParams) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(params.hidden_size))
        self.patch_embedding = nn.Conv2d(3, params.hidden_size, params.patch_size, params.patch_size, bias=False)
        self.position_embedding = PositionEmbedding(params.grid**2 + 1, params.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """[crops, 3, image_size, image_size] -> [crops, grid * grid + 1, hidden]"""
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        class_token = self.class_embedding.expand(patches.shape[0], 1, -1)
        return torch.cat((class_token, patches), dim=1) + self.position_embedding.weight


class ClipAttention(nn.Module):
    """Bidirectional attention with separate, biased projections."""

    def __init__(self, params: ClipVisionParams) -> None:
        super().__init__()
        self.num_heads = params.num_attention_heads
        self.q_proj = nn.Linear(params.hidden_size, params.hidden_size)
        self.k_proj = nn.Linear(params.hidden_size, params.hidden_size)
        self.v_proj = nn.Linear(params.hidden_size, params.hidden_size)
        self.out_proj = nn.Linear(params.hidden_size, params.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[crops, tokens, hidden] -> the same shape"""
        return self.out_proj(attention(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.num_heads))


class ClipMlp(nn.Module):
    """Two layers with an activation between them, CLIP's own being the quick GELU."""

    def __init__(self, params: ClipVisionParams) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[params.hidden_act]
        self.fc1 = nn.Linear(params.hidden_size, params.intermediate_size)
        self.fc2 = nn.Linear(params.intermediate_size, params.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[crops, tokens, hidden] -> the same shape"""
        return self.fc2(self.activation(self.fc1(x)))


class ClipLayer(nn.Module):
    """One pre-norm block."""

    def __init__(self, params: ClipVisionParams) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(params.hidden_size, params.layer_norm_eps)
        self.self_attn = ClipAttention(params)
        self.layer_norm2 = nn.LayerNorm(params.hidden_size, params.layer_norm_eps)
        self.mlp = ClipMlp(params)

    def forward(self, x: Tensor) -> Tensor:
        """[crops, tokens, hidden] -> the same shape"""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class ClipEncoder(nn.Module):
    """The stack of layers; those behind the features are held, because checkpoints hold them, and never run."""

    def __init__(self, params: ClipVisionParams) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ClipLayer(params) for _ in range(params.num_hidden_layers))
        self.depth = params.num_hidden_layers - 1 if params.depth is None else params.depth

    def forward(self, x: Tensor) -> Tensor:
        """[crops, tokens, hidden] -> the same shape, the output of the layer that the features are taken from"""
        for layer in self.layers[: self.depth]:
            x = layer(x)
        return x


class ClipVisionTower(nn.Module):
    """Pixels to patch features: the output of one of the layers, without class token and without post-norm.

    The layers behind it and `post_layernorm` are part of every checkpoint and of no result.
    """

    def __init__(self, params: ClipVisionParams) -> None:
        super().__init__()
        self.embeddings = ClipEmbeddings(params)
        self.pre_layrnorm = nn.LayerNorm(params.hidden_size, params.layer_norm_eps)
        self.encoder = ClipEncoder(params)
        self.post_layernorm = nn.LayerNorm(params.hidden_size, params.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        """[crops, 3, image_size, image_size] -> [crops, grid * grid, hidden]"""
        return self.encoder(self.pre_layrnorm(self.embeddings(pixels)))[:, 1:]
