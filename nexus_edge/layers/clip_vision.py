"""CLIP's vision transformer (arXiv 2103.00020), read out before its last layer as Phi-3-Vision and LLaVA do.

Module names are those of the checkpoints, including `pre_layrnorm`, which is misspelt there.
"""

import torch
from torch import Tensor, nn

from nexus_edge.layers.activations import ACTIVATIONS
from nexus_edge.layers.params import ClipVisionParams
from nexus_edge.ops.attention import attention


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
    """The stack of layers; those after the features are held, because checkpoints hold them, and never run."""

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

    The layers after it and `post_layernorm` are part of every checkpoint and of no result.
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
