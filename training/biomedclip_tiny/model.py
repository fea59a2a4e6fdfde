"""BiomedCLIP's two towers under the checkpoint's own key names, for training; nexus_edge's model is made for export."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Sizes:
    """The numbers of the checkpoint."""

    vocab: int
    image: int = 128
    patch: int = 16
    width: int = 128
    heads: int = 4
    depth: int = 6
    text_width: int = 128
    text_heads: int = 4
    text_depth: int = 3
    text_mlp: int = 512
    context: int = 64
    embed: int = 128


class Named(nn.Module):
    """A module of named children, for key names with dots."""

    def __init__(self, /, **children: nn.Module) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """[batch, tokens, width] three times -> the same shape"""
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class Block(nn.Module):
    """One pre-norm ViT block."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        self.heads = sizes.heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = Named(qkv=nn.Linear(width, 3 * width), proj=nn.Linear(width, width))
        self.mlp = Named(fc1=nn.Linear(width, 4 * width), fc2=nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn.proj(attend(*self.attn.qkv(self.norm1(x)).chunk(3, dim=-1), self.heads))
        return x + self.mlp.fc2(functional.gelu(self.mlp.fc1(self.norm2(x))))


class Trunk(nn.Module):
    """timm's vision transformer: [batch, 3, image, image] -> normalised tokens, the class token first."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, (sizes.image // sizes.patch) ** 2 + 1, sizes.width))
        self.patch_embed = Named(proj=nn.Conv2d(3, sizes.width, sizes.patch, sizes.patch))
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.depth))
        self.norm = nn.LayerNorm(sizes.width, eps=1e-6)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patch_embed.proj(pixels).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class BertLayer(nn.Module):
    """One post-norm BERT layer."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.text_width
        self.heads = sizes.text_heads
        linear = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        output = Named(dense=nn.Linear(width, width), LayerNorm=nn.LayerNorm(width, eps=1e-12))
        self.attention = Named(**{"self": Named(**linear), "output": output})
        self.intermediate = Named(dense=nn.Linear(width, sizes.text_mlp))
        self.output = Named(dense=nn.Linear(sizes.text_mlp, width), LayerNorm=nn.LayerNorm(width, eps=1e-12))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        own, out = self.attention.get_submodule("self"), self.attention.output
        x = out.LayerNorm(x + out.dense(attend(own.query(x), own.key(x), own.value(x), self.heads, mask)))
        return self.output.LayerNorm(x + self.output.dense(functional.gelu(self.intermediate.dense(x))))


class Bert(nn.Module):
    """[batch, tokens] ids, 0 for padding -> [batch, tokens, width]"""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.text_width
        self.embeddings = Named(
            word_embeddings=nn.Embedding(sizes.vocab, width),
            position_embeddings=nn.Embedding(sizes.context, width),
            token_type_embeddings=nn.Embedding(2, width),
            LayerNorm=nn.LayerNorm(width, eps=1e-12),
        )
        self.encoder = Named(layer=nn.ModuleList(BertLayer(sizes) for _ in range(sizes.text_depth)))

    def forward(self, ids: Tensor) -> Tensor:
        tables = self.embeddings
        x = tables.word_embeddings(ids) + tables.position_embeddings.weight[: ids.shape[1]]
        x = tables.LayerNorm(x + tables.token_type_embeddings.weight[0])
        mask = (ids != 0)[:, None, None, :]
        for layer in self.encoder.layer:
            x = layer(x, mask)
        return x


class Trainer(nn.Module):
    """Both towers and the scale."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        middle = (sizes.text_width + sizes.embed) // 2
        head = Named(proj=nn.Linear(sizes.width, sizes.embed, bias=False))
        self.visual = Named(trunk=Trunk(sizes), head=head)
        proj = nn.Sequential(
            nn.Linear(sizes.text_width, middle, bias=False), nn.GELU(), nn.Linear(middle, sizes.embed, bias=False)
        )
        self.text = Named(transformer=Bert(sizes), proj=proj)
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def image(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, 3, image, image] -> normalised embeddings [batch, embed], and tokens [batch, 1 + patches, width]"""
        tokens = self.visual.trunk(pixels)
        return functional.normalize(self.visual.head.proj(tokens[:, 0]).float(), dim=-1), tokens

    def sentence(self, ids: Tensor) -> Tensor:
        """[batch, tokens] -> normalised embeddings [batch, embed]"""
        return functional.normalize(self.text.proj(self.text.transformer(ids)[:, 0]).float(), dim=-1)
