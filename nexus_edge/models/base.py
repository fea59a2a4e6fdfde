"""What every reference model offers beside `forward`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from nexus_edge.layers.decoder import KeyValue
from nexus_edge.layers.kv_cache import KVCache, positions_of
from nexus_edge.layers.params import DecoderParams


class ReferenceModel(nn.Module, ABC):
    """A model whose parameters carry the keys of its checkpoints."""

    @property
    @abstractmethod
    def context_length(self) -> int:
        """Most tokens, prompt and answer together."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Ids that the model has embeddings for: 0 up to this, exclusive."""

    @abstractmethod
    def constants(self) -> dict[str, Tensor]:
        """Tensors that follow from the configuration alone, by name; on the meta device they have no data."""


@dataclass(frozen=True)
class DecoderNames:
    """Where the parts of a decoder are in their model: names of submodules, of `layers` the list."""

    embedding: str
    layers: str
    norm: str
    head: str


class VisionLanguageModel(ReferenceModel):
    """A model that answers a prompt with images; its decoder can be run layer by layer.

    Attributes:
        decoder_names: see `DecoderNames`; a layer is called as `nexus_edge.layers.decoder.DecoderLayer`
    """

    decoder_names: ClassVar[DecoderNames]

    @property
    @abstractmethod
    def decoder_params(self) -> DecoderParams:
        """The numbers of the decoder's layers."""

    @abstractmethod
    def image_features(self, pixel_values: Tensor | None, image_sizes: Tensor | None) -> Tensor:
        """Image features of all images, [image tokens, hidden]; no rows without images."""

    @abstractmethod
    def embed(self, input_ids: Tensor, image_features: Tensor) -> Tensor:
        """int64 [batch, tokens], [image tokens, hidden] -> [batch, tokens, hidden]"""

    @abstractmethod
    def rotation(self, position_ids: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines, [batch, tokens, head_dim / 2] each.

        Args:
            position_ids: int64 [batch, tokens]
            length: int64 scalar, tokens of the whole sequence
        """

    @property
    def hidden_size(self) -> int:
        """Width of the decoder."""
        return self.decoder_params.hidden_size

    def empty_past(self, like: Tensor) -> list[KeyValue]:
        """A cache without tokens, for as many sequences as `like` [batch, ...] has."""
        params = self.decoder_params
        empty = like.new_zeros(like.shape[0], params.num_kv_heads, 0, params.head_dim)
        return [(empty, empty)] * len(self.decoder_layers)

    @property
    def decoder_layers(self) -> nn.ModuleList:
        """The layers, the first one first."""
        layers = self.get_submodule(self.decoder_names.layers)
        assert isinstance(layers, nn.ModuleList)
        return layers

    def decode(
        self,
        inputs_embeds: Tensor,
        position_ids: Tensor,
        length: Tensor,
        attention_mask: Tensor,
        past: Sequence[KeyValue],
    ) -> tuple[Tensor, list[KeyValue]]:
        """All layers and the final norm.

        Args:
            inputs_embeds: [batch, tokens, hidden]
            position_ids: int64 [batch, tokens]
            length: int64 scalar, tokens of the longest sequence, see `rotation`
            attention_mask: int64 [batch, past + tokens]
            past: per layer, key and value [batch, num_kv_heads, past, head_dim]

        Returns:
            [batch, tokens, hidden] and the grown cache
        """
        cos, sin = (table.to(inputs_embeds.dtype) for table in self.rotation(position_ids, length))
        x, present = inputs_embeds, []
        for layer, layer_past in zip(self.decoder_layers, past, strict=True):
            x, layer_present = layer(x, cos, sin, attention_mask, layer_past)
            present.append(layer_present)
        return self.get_submodule(self.decoder_names.norm)(x), present

    def logits(self, hidden: Tensor) -> Tensor:
        """[batch, tokens, hidden], after the final norm -> [batch, tokens, vocab]"""
        return self.get_submodule(self.decoder_names.head)(hidden)

    def forward(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """
        Args:
            input_ids: int64 [batch, tokens], see `embed`
            pixel_values, image_sizes: see `image_features`
            attention_mask: int64 [batch, cached + tokens], 0 for padding; default: no padding
            cache: grown in place; the tokens are then the continuation of what it holds

        Returns:
            logits, float32 [batch, tokens, vocab]

        Raises:
            InputError: ids and images do not fit together
        """
        cache = KVCache() if cache is None else cache
        embeds = self.embed(input_ids, self.image_features(pixel_values, image_sizes))
        if attention_mask is None:
            attention_mask = cache.extended_mask(input_ids)
        positions = positions_of(attention_mask)
        hidden, cache.layers = self.decode(
            embeds,
            positions[:, -input_ids.shape[1] :],
            positions.max() + 1,
            attention_mask,
            cache.layers or self.empty_past(embeds),
        )
        cache.attention_mask = attention_mask
        return self.logits(hidden).float()


def as_vlm(model: ReferenceModel) -> VisionLanguageModel:
    """A model that is known to be of this kind."""
    assert isinstance(model, VisionLanguageModel), f"{type(model).__name__} answers no prompts"
    return model


class DualEncoder(ReferenceModel):
    """A model with an image and a text tower, whose embeddings are compared by their cosine."""

    logit_scale: nn.Parameter
    """Logarithm of the factor of the cosines, as CLIP trains it; a scalar that no graph uses."""

    @property
    @abstractmethod
    def embed_dim(self) -> int:
        """Length of an embedding."""
