"""Phi-3-Vision's forward pass, arranged for training: one tower pass and many questions per picture.

The parameters carry the checkpoint's own key names, so `state_dict()` is the checkpoint, and
`nexus_edge.models.from_checkpoint` loads it unchanged. Two things differ from the reference model, both only in cost:
a picture under `num_crops = 1` has a crop equal to its global view, so its features are computed once and used twice;
attention takes a mask, so that questions share the prefix without seeing each other; and early in training most of the
background is left out (PatchDropout, arXiv 2208.07220), all remaining tokens keeping their true positions.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

POINTING_LAYERS = (1, 2)  # the decoder layers whose attention is taught what to look at


@dataclass(frozen=True)
class Sizes:
    """The numbers of the checkpoint. Everything a kernel blocks over is a multiple of 32."""

    vocab: int
    hidden: int = 128
    ffn: int = 256
    layers: int = 4
    heads: int = 4
    vision_hidden: int = 128
    vision_ffn: int = 256
    vision_layers: int = 5  # the last one is unused: features are hidden_states[-2]
    vision_heads: int = 4


def view_positions(keep: Tensor) -> Tensor:
    """Places of the kept blocks, then of the 12 row separators, among one view's 156 tokens: [batch, kept + 12]."""
    return torch.cat([keep // 12 * 13 + keep % 12, (torch.arange(12) * 13 + 12).expand(len(keep), 12)], 1)


def image_positions(keep: Tensor) -> Tensor:
    """Places of all image tokens among a picture's 313: [batch, 2 * (kept + 12) + 1], ascending."""
    view = view_positions(keep).sort(1).values
    return torch.cat([view, torch.full((len(keep), 1), 156), view + 157], 1)


class ClipLayer(nn.Module):
    """One pre-norm CLIP block, quick_gelu. [batch, tokens, hidden] -> the same."""

    def __init__(self, hidden: int, ffn: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.self_attn = nn.ModuleDict(
            {n: nn.Linear(hidden, hidden) for n in ("q_proj", "k_proj", "v_proj", "out_proj")}
        )
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(hidden, ffn), "fc2": nn.Linear(ffn, hidden)})

    def forward(self, x: Tensor) -> Tensor:
        h, a = self.layer_norm1(x), self.self_attn
        q, k, v = (a[n](h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for n in ("q_proj", "k_proj", "v_proj"))
        x = x + a["out_proj"](functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        h = self.mlp["fc1"](self.layer_norm2(x))
        return x + self.mlp["fc2"](h * torch.sigmoid(1.702 * h))


class ClipTower(nn.Module):
    """CLIP ViT 336/14, up to the layer whose output is used."""

    def __init__(self, s: Sizes) -> None:
        super().__init__()
        d = s.vision_hidden
        self.embeddings = nn.Module()
        self.embeddings.class_embedding = nn.Parameter(torch.randn(d) * 0.02)
        self.embeddings.patch_embedding = nn.Conv2d(3, d, 14, 14, bias=False)
        self.embeddings.position_embedding = nn.Embedding(577, d)
        self.pre_layrnorm, self.post_layernorm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(ClipLayer(d, s.vision_ffn, s.vision_heads) for _ in range(s.vision_layers))

    def forward(self, pixels: Tensor, keep: Tensor) -> Tensor:
        """keep [batch, kept]: which of the 12 x 12 blocks of 2 x 2 patches are looked at, ascending.

        Returns hidden_states[-2] of those blocks, [batch, kept, 4, hidden], patches in the order of the projector.
        """
        e, index = self.embeddings, keep[:, :, None]
        blocks = pixels.view(-1, 3, 12, 2, 14, 12, 2, 14).permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(-1, 144, 4 * 588)
        patches = blocks.gather(1, index.expand(-1, -1, 4 * 588)).unflatten(2, (4, 588)).flatten(1, 2)
        table = e.position_embedding.weight
        places = table[1:].view(12, 2, 12, 2, -1).transpose(1, 2).reshape(144, -1)[keep].view(*patches.shape[:2], -1)
        x = functional.linear(patches, e.patch_embedding.weight.flatten(1)) + places
        x = torch.cat([(e.class_embedding + table[0]).expand(len(x), 1, -1), x], 1)
        x = self.pre_layrnorm(x)
        for layer in self.encoder.layers[:-1]:
            x = layer(x)
        return x[:, 1:].unflatten(1, (-1, 4))


class DecoderLayer(nn.Module):
    """One Phi-3 block: fused qkv and gate_up, RMSNorm, rotate-half RoPE."""

    def __init__(self, s: Sizes) -> None:
        super().__init__()
        d = s.hidden
        self.heads = s.heads
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(d, 1e-5), nn.RMSNorm(d, 1e-5)
        self.self_attn = nn.ModuleDict(
            {"qkv_proj": nn.Linear(d, 3 * d, bias=False), "o_proj": nn.Linear(d, d, bias=False)}
        )
        self.mlp = nn.ModuleDict(
            {"gate_up_proj": nn.Linear(d, 2 * s.ffn, bias=False), "down_proj": nn.Linear(s.ffn, d, bias=False)}
        )

    def queries_keys_values(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Turned by RoPE, each [batch, heads, tokens, head_dim]."""
        qkv = self.self_attn["qkv_proj"](self.input_layernorm(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        cos, sin = cos.to(x.dtype), sin.to(x.dtype)
        q, k = (t * cos + torch.cat([-t.chunk(2, -1)[1], t.chunk(2, -1)[0]], -1) * sin for t in (q, k))
        return q, k, v

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        """x [batch, tokens, hidden], cos and sin [batch, 1, tokens, head_dim], mask [batch, 1, tokens, tokens]."""
        q, k, v = self.queries_keys_values(x, cos, sin)
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.self_attn["o_proj"](out.transpose(1, 2).flatten(2))
        gate, up = self.mlp["gate_up_proj"](self.post_attention_layernorm(x)).chunk(2, -1)
        return x + self.mlp["down_proj"](up * functional.silu(gate))


class Phi3VTrainer(nn.Module):
    """The whole model. Module names reproduce the checkpoint's keys."""

    def __init__(self, s: Sizes, rope: dict) -> None:
        super().__init__()
        d, dv = s.hidden, s.vision_hidden
        self.sizes = s
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(s.vocab, d)
        self.model.layers = nn.ModuleList(DecoderLayer(s) for _ in range(s.layers))
        self.model.norm = nn.RMSNorm(d, 1e-5)
        self.lm_head = nn.Linear(d, s.vocab, bias=False)
        v = self.model.vision_embed_tokens = nn.Module()
        v.glb_GN, v.sub_GN = (
            nn.Parameter(torch.randn(1, 1, 4 * dv) * 0.02),
            nn.Parameter(torch.randn(1, 1, 1, 4 * dv) * 0.02),
        )
        v.img_projection = nn.Sequential(nn.Linear(4 * dv, d), nn.GELU(), nn.Linear(d, d))
        v.img_processor = nn.Module()
        v.img_processor.vision_model = ClipTower(s)
        self.rope = rope

    def image_features(self, blocks: Tensor, keep: Tensor) -> Tensor:
        """Tower output [batch, kept, 4, vision_hidden] -> image tokens [batch, 2 * (kept + 12) + 1, hidden].

        In the order of `image_positions`: crop, glb_GN, global view.
        """
        v, b = self.model.vision_embed_tokens, len(blocks)
        rows = torch.cat([blocks.flatten(2), v.sub_GN[0].expand(b, 12, -1).to(blocks.dtype)], 1)
        order = view_positions(keep).argsort(1)[:, :, None]
        # The projector works per token, so the view is projected once and used as crop and as global view.
        view, glb = v.img_projection(rows), v.img_projection(v.glb_GN)
        view = view.gather(1, order.expand(-1, -1, view.shape[2]))
        return torch.cat([view, glb.expand(b, 1, -1), view], 1)

    def cos_sin(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """LongRoPE with the short list, both tables scaled by the attention factor.

        positions [batch, tokens] -> [batch, 1, tokens, head_dim] twice
        """
        dim = self.sizes.hidden // self.sizes.heads
        inv = 1.0 / (torch.tensor(self.rope["short_factor"]) * 10000.0 ** (torch.arange(0, dim, 2) / dim))
        angles = (positions[:, None, :, None].float() * inv).repeat(1, 1, 1, 2)
        limit, original = self.rope["max"], self.rope["original"]
        factor = math.sqrt(1 + math.log(limit / original) / math.log(original))
        return angles.cos() * factor, angles.sin() * factor

    def decode(
        self, ids: Tensor, image: Tensor, positions: Tensor, mask: Tensor
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Last hidden state [batch, tokens, hidden]; queries and keys of the POINTING_LAYERS.

        ids < 0 take the image tokens in order.
        """
        x = self.model.embed_tokens(ids.clamp(min=0))
        x = x.index_put((ids < 0).nonzero(as_tuple=True), image.flatten(0, 1).to(x.dtype))
        cos, sin = self.cos_sin(positions)
        watched: list[tuple[Tensor, Tensor]] = []
        for index, layer in enumerate(self.model.layers):
            if index in POINTING_LAYERS:
                watched.append(layer.queries_keys_values(x, cos, sin)[:2])
            x = layer(x, cos, sin, mask)
        return x, watched

    def logits(self, hidden: Tensor) -> Tensor:
        """[n, hidden] -> [n, vocab]"""
        return self.lm_head(self.model.norm(hidden))
