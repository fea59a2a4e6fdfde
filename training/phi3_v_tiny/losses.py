"""What is taught beside the answers: what a patch shows, its words, and where to look."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from batches import Batch
from model import Phi3VTrainer, view_positions
from scenes import COLORS, KINDS, SHAPES
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Words:
    """Token ids of words: `labels` by patch label - 1 (kinds, colours), `asked` those of questions (nouns, colours)."""

    labels: tuple[Tensor, Tensor]
    asked: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Words":
        nouns = (*SHAPES, "crosses", *(f"{shape}s" for shape in SHAPES[:-1]), "digit", "word", "shapes")
        kinds, colors, nouns = (
            torch.tensor([tokenizer.token_to_id(f"▁{word}") for word in group]) for group in (KINDS, COLORS, nouns)
        )
        return cls((kinds, colors), (nouns, colors))


@dataclass(frozen=True)
class Weights:
    """What the losses beside the answers' count."""

    naming: float
    pointing: float
    patch: float


def patch_loss(heads: nn.ModuleList, patches: Tensor, labels: Tensor) -> tuple[Tensor, float]:
    """Mean cross entropy of kind, colour and place per patch, items weighted up.

    patches [batch, kept, 4, hidden], labels [batch, 3, kept, 4]. Also returns the share of item patches with all right.
    """
    item = labels[:, 0].flatten() > 0
    weight = torch.where(item, 3.0, 0.3)
    loss, right = patches.new_zeros((), dtype=torch.float32), item
    for head, wanted in zip(heads, labels[:, :3].unbind(1), strict=True):
        said, wanted = head(patches).float().flatten(0, 2), wanted.flatten()
        loss = loss + (functional.cross_entropy(said, wanted, reduction="none") * weight).sum() / weight.sum()
        right = right & (said.argmax(1) == wanted)
    return loss, (right.sum() / item.sum()).item()


def naming_loss(net: Phi3VTrainer, names: Sequence[Tensor], patches: Tensor, labels: Tensor) -> Tensor:
    """Pulls the projected block of an item towards the embeddings of the words for its kind and its colour.

    Looking something up by a word in the question is then a comparison of two like vectors; without this, attention
    did not learn it for shapes within 20,000 pictures. `names` are the ids of the words, by label - 1.
    """
    projected = net.model.vision_embed_tokens.img_projection(patches.flatten(2)).float()
    loss = projected.new_zeros(())
    for ids, wanted in zip(names, labels[:, :2].amax(3).unbind(1), strict=True):
        on_item = wanted > 0
        blocks = functional.normalize(projected[on_item], dim=-1)
        words = functional.normalize(net.model.embed_tokens(ids), dim=-1)
        loss = loss + functional.cross_entropy(12.0 * blocks @ words.T, wanted[on_item] - 1)
    return loss


def attention_on(q: Tensor, k: Tensor, mask: Tensor, asking: Tensor, wanted: Tensor) -> Tensor:
    """Minus the log of the share of attention that each head spends on the wanted tokens, a mean over askers and heads.

    q, k [heads, tokens, head_dim], mask [tokens, tokens], asking [n] indices, wanted [n, tokens] bool. Askers that
    want nothing are left out.
    """
    scores = (q[:, asking] @ k.transpose(1, 2)).float() / q.shape[2] ** 0.5
    chances = scores.masked_fill(~mask[asking], -1e9).log_softmax(-1)
    found = chances.masked_fill(~wanted, -1e9).logsumexp(-1)[:, (wanted & mask[asking]).any(1)]
    return -found.mean() if found.numel() else found.sum()


def pointing_loss(watched: list[tuple[Tensor, Tensor]], words: Sequence[Tensor], batch: Batch) -> Tensor:
    """Shows the decoder where to look: first at the question's noun and colour, then at the items they mean.

    `watched` holds queries and keys [batch, heads, tokens, head_dim] of the two POINTING_LAYERS; `words` the ids of
    nouns and of colours. Looking up is a circuit of two layers that gradients of the answers alone did not build for
    shapes; shown where to look, it forms within a few hundred steps.
    """
    covered = torch.where(batch.labels[:, 3] > 0, 1 << (batch.labels[:, 3] - 1).clamp(min=0), 0)
    bits = covered[:, :, 0] | covered[:, :, 1] | covered[:, :, 2] | covered[:, :, 3]
    order = view_positions(batch.keep).argsort(1)
    view = torch.cat([bits, bits.new_zeros(len(bits), 12)], 1).gather(1, order)
    (q1, k1), (q2, k2) = watched
    asks = functional.pad(batch.targets[:, :-1] < 0, (1, 0), value=True)  # tokens that are not part of an answer
    total = q1.new_zeros((), dtype=torch.float32)
    for row, pointers in enumerate(batch.pointers):
        mask, places = batch.mask[row, 0], torch.arange(len(pointers))
        asking = pointers.nonzero().squeeze(1)
        seen = torch.cat([view.new_zeros(4), view[row], view.new_zeros(1), view[row]])
        seen = functional.pad(seen, (0, len(pointers) - len(seen)))
        total = total + attention_on(q2[row, :2], k2[row, :2], mask, asking, (seen & pointers[asking, None]) > 0)
        asking = (batch.targets[row] >= 0).nonzero().squeeze(1)
        near = (places >= asking[:, None] - 10) & (places < asking[:, None]) & asks[row]
        for head, ids in enumerate(words):
            wanted = near & torch.isin(batch.ids[row], ids)
            one = slice(head, head + 1)
            total = total + attention_on(q1[row, one], k1[row, one], mask, asking, wanted)
    return total / len(batch.pointers)
