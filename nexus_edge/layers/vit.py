"""The vision transformer (arXiv 2010.11929) as timm names it, read out at its class token."""

import torch
from torch import Tensor, nn

from nexus_edge.layers.params import VitParams
from nexus_edge.ops.attention import attention


class PatchEmbed(nn.Module):
    """Pixels to patch tokens, row by row."""

    def __init__(self, params: VitParams) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, params.hidden_size, params.patch_size, params.patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """[batch, 3, image_size, image_size] -> [batch, grid * grid, hidden]"""
        return self.proj(pixels).flatten(2).transpose(1, 2)


class VitAttention(nn.Module):
    """Bidirectional attention; one projection makes query, key and value, in this order of rows."""

    def __init__(self, params: VitParams) -> None:
        super().__init__()
        self.num_heads = params.num_attention_heads
        self.splits = [params.hidden_size] * 3
        self.qkv = nn.Linear(params.hidden_size, sum(self.splits))
        self.proj = nn.Linear(params.hidden_size, params.hidden_size)

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        """[batch, tokens, hidden] -> [batch, queries, hidden]; see VitBlock"""
        query, key, value = (part.contiguous() for part in self.qkv(x).split(self.splits, dim=-1))
        return self.proj(attention(query[:, :queries], key, value, self.num_heads))


class VitMlp(nn.Module):
    """Two layers with the exact GELU between them."""

    def __init__(self, params: VitParams) -> None:
        super().__init__()
        self.fc1 = nn.Linear(params.hidden_size, params.intermediate_size)
        self.fc2 = nn.Linear(params.intermediate_size, params.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, hidden] -> the same shape"""
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class VitBlock(nn.Module):
    """One pre-norm block."""

    def __init__(self, params: VitParams) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(params.hidden_size, params.layer_norm_eps)
        self.attn = VitAttention(params)
        self.norm2 = nn.LayerNorm(params.hidden_size, params.layer_norm_eps)
        self.mlp = VitMlp(params)

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        """
        Args:
            x: [batch, tokens, hidden]
            queries: how many tokens, from the first, are computed; all of them are attended to. None: every token

        Returns:
            [batch, queries, hidden]
        """
        x = x[:, :queries] + self.attn(self.norm1(x), queries)
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Pixels to the normalized class token."""

    def __init__(self, params: VitParams) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, params.hidden_size))
        self.pos_embed = nn.Parameter(torch.zeros(1, params.grid**2 + 1, params.hidden_size))
        self.patch_embed = PatchEmbed(params)
        self.blocks = nn.ModuleList(VitBlock(params) for _ in range(params.num_hidden_layers))
        self.norm = nn.LayerNorm(params.hidden_size, params.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        """[batch, 3, image_size, image_size] -> [batch, hidden]"""
        patches = self.patch_embed(pixels)
        class_token = self.cls_token.expand(patches.shape[0], -1, -1)
        x = torch.cat((class_token, patches), dim=1) + self.pos_embed
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x)
        # Nothing but attention looks beyond a token, so after the last attention the class token is enough.
        return self.norm(last(x, queries=1)[:, 0])
