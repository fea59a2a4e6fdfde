"""BERT's encoder (arXiv 1810.04805) as Hugging Face names it, read out at its first token, [CLS]."""

import torch
from torch import Tensor, nn

from nexus_edge.layers.params import BertParams
from nexus_edge.ops.attention import attention

PAD = 0
"""The id that fills a text up to the length of its batch."""


class AddedTable(nn.Module):
    """A table of which the first rows are added as they are: no nn.Embedding, so that no scheme quantizes it."""

    def __init__(self, rows: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, hidden_size))


class BertEmbeddings(nn.Module):
    """Ids to tokens: word, position and segment, normalized. Every token is of segment 0."""

    def __init__(self, params: BertParams) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(params.vocab_size, params.hidden_size)
        self.position_embeddings = AddedTable(params.max_position_embeddings, params.hidden_size)
        self.token_type_embeddings = AddedTable(params.type_vocab_size, params.hidden_size)
        self.LayerNorm = nn.LayerNorm(params.hidden_size, params.layer_norm_eps)

    def forward(self, input_ids: Tensor) -> Tensor:
        """int64 [batch, tokens] -> [batch, tokens, hidden]"""
        # A gather and not a slice: a slice would fix the most tokens in the exported graph's shapes.
        index = torch.arange(input_ids.shape[1], device=input_ids.device)
        positions = nn.functional.embedding(index, self.position_embeddings.weight)
        segment = self.token_type_embeddings.weight[0]
        return self.LayerNorm(self.word_embeddings(input_ids) + segment + positions)


class BertSelfAttention(nn.Module):
    """Bidirectional attention with separate projections."""

    def __init__(self, params: BertParams) -> None:
        super().__init__()
        self.num_heads = params.num_attention_heads
        self.query = nn.Linear(params.hidden_size, params.hidden_size)
        self.key = nn.Linear(params.hidden_size, params.hidden_size)
        self.value = nn.Linear(params.hidden_size, params.hidden_size)

    def forward(self, x: Tensor, visible: Tensor, queries: int | None = None) -> Tensor:
        """[batch, tokens, hidden], bool [batch, tokens] -> [batch, queries, hidden]; see BertLayer"""
        return attention(self.query(x[:, :queries]), self.key(x), self.value(x), self.num_heads, visible)


class BertOutput(nn.Module):
    """What ends each half of a layer: a projection, the residual sum, and its norm."""

    def __init__(self, inputs: int, params: BertParams) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, params.hidden_size)
        self.LayerNorm = nn.LayerNorm(params.hidden_size, params.layer_norm_eps)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """[batch, tokens, inputs], [batch, tokens, hidden] -> [batch, tokens, hidden]"""
        return self.LayerNorm(self.dense(x) + residual)


class BertAttention(nn.Module):
    """The first half of a layer."""

    def __init__(self, params: BertParams) -> None:
        super().__init__()
        self.self = BertSelfAttention(params)
        self.output = BertOutput(params.hidden_size, params)

    def forward(self, x: Tensor, visible: Tensor, queries: int | None = None) -> Tensor:
        """[batch, tokens, hidden], bool [batch, tokens] -> [batch, queries, hidden]; see BertLayer"""
        return self.output(self.self(x, visible, queries), x[:, :queries])


class BertIntermediate(nn.Module):
    """The widening half of the MLP, with the exact GELU."""

    def __init__(self, params: BertParams) -> None:
        super().__init__()
        self.dense = nn.Linear(params.hidden_size, params.intermediate_size)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, hidden] -> [batch, tokens, intermediate]"""
        return nn.functional.gelu(self.dense(x))


class BertLayer(nn.Module):
    """One post-norm block."""

    def __init__(self, params: BertParams) -> None:
        super().__init__()
        self.attention = BertAttention(params)
        self.intermediate = BertIntermediate(params)
        self.output = BertOutput(params.intermediate_size, params)

    def forward(self, x: Tensor, visible: Tensor, queries: int | None = None) -> Tensor:
        """
        Args:
            x: [batch, tokens, hidden]
            visible: bool [batch, tokens], False where nobody attends to a token
            queries: how many tokens, from the first, are computed. None: every token

        Returns:
            [batch, queries, hidden]
        """
        x = self.attention(x, visible, queries)
        return self.output(self.intermediate(x), x)


class BertEncoder(nn.Module):
    """The stack of layers; the last one computes nothing but [CLS], after which nobody reads the other tokens."""

    def __init__(self, params: BertParams) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(params) for _ in range(params.num_hidden_layers))

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """[batch, tokens, hidden], bool [batch, tokens] -> [batch, 1, hidden]"""
        *layers, last = self.layer
        for layer in layers:
            x = layer(x, visible)
        return last(x, visible, queries=1)


class Bert(nn.Module):
    """Ids to the last hidden state of [CLS]; no pooler."""

    def __init__(self, params: BertParams) -> None:
        super().__init__()
        self.embeddings = BertEmbeddings(params)
        self.encoder = BertEncoder(params)

    def forward(self, input_ids: Tensor) -> Tensor:
        """int64 [batch, tokens], 0 after the end of a text -> [batch, hidden]"""
        return self.encoder(self.embeddings(input_ids), input_ids != PAD)[:, 0]
