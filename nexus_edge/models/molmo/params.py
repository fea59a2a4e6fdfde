"""Every number of a Molmo model: from the checkpoint's `config.json`, and those that the authors' code fixes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexus_edge.configs.reading import read_heads, read_params
from nexus_edge.configs.values import check_multiple, count, flag, layer_count, number, table
from nexus_edge.layers.params import ClipVisionParams, DecoderParams
from nexus_edge.models.molmo.config_keys import CONFIG

MODEL_TYPE = "molmo"

# What the authors' configuration class takes for absent keys, that of Molmo-7B-O's decoder.
VOCAB_SIZE, HIDDEN_SIZE, INTERMEDIATE_SIZE, LAYERS, HEADS, CONTEXT = 50304, 4096, 11008, 32, 32, 2048
EPS, THETA = 1e-5, 10000.0

# What no key says: modeling_molmo.py fixes it for all models.
NEW_IDS = 128
TOWER = ClipVisionParams(num_hidden_layers=23)
"""OpenAI's ViT-L/14 at 336 pixels without its last layer."""
FEATURE_LAYERS = (-2, -9)
PATCH_TOKEN = 2
"""Of the image tokens, which follow the vocabulary: <im_start>, <im_end>, <im_patch>, <im_col>, <|image|>."""


@dataclass(frozen=True)
class MolmoParams:
    """The numbers of a Molmo; sizes in channels, counts of layers, heads and ids.

    Attributes:
        vocab_size: ids of text; those of image tokens follow
        embedding_size: rows of the first table of embeddings and of the language head
        new_ids: rows of the second table
        qkv_bias: query, key and value have biases
        qk_norm: query and key are normalised, each over all heads together
        norm_after: a block's norms work on what its parts give, not on what they take
        vision: the tower; its `depth` means nothing here
        feature_layers: of the tower, whose outputs are joined
    """

    vocab_size: int
    embedding_size: int
    new_ids: int
    num_hidden_layers: int
    max_position_embeddings: int
    decoder: DecoderParams
    rope_theta: float
    qkv_bias: bool
    qk_norm: bool
    norm_after: bool
    vision: ClipVisionParams
    feature_layers: tuple[int, ...]

    @property
    def hidden_size(self) -> int:
        return self.decoder.hidden_size

    @property
    def joined_size(self) -> int:
        """Channels of the tower's joined layers."""
        return len(self.feature_layers) * self.vision.hidden_size

    @property
    def patch_token(self) -> int:
        """The id at whose embedding an image feature is added."""
        return self.vocab_size + PATCH_TOKEN

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> "MolmoParams":
        """From the parsed `config.json`.

        The official file says nothing of the tower and of what else modeling_molmo.py fixes; an object
        `_golden_hardcoded` under its names overrides that.

        Raises:
            CheckpointError: a key is not known, or holds what this model cannot be built from.
        """
        return read_params(config, MODEL_TYPE, CONFIG, cls._from_json)

    @classmethod
    def _from_json(cls, config: Mapping[str, Any]) -> "MolmoParams":
        vocab_size, fixed = count(config, "vocab_size", VOCAB_SIZE), table(config, "_golden_hardcoded")
        embedding_size, new_ids = (
            count(config, "embedding_size", vocab_size),
            count(fixed, "additional_vocab_size", NEW_IDS),
        )
        if not vocab_size <= embedding_size:
            raise ValueError(f"embedding_size is {embedding_size}, and vocab_size {vocab_size}; it must not be smaller")
        vision = _tower(table(fixed, "vision_backbone"))
        return cls(
            vocab_size=vocab_size,
            embedding_size=embedding_size,
            new_ids=new_ids,
            num_hidden_layers=layer_count(config, "num_hidden_layers", LAYERS),
            max_position_embeddings=context_length(config),
            decoder=_decoder(config),
            rope_theta=number(config, "rope_theta", THETA),
            qkv_bias=flag(config, "qkv_bias"),
            qk_norm=flag(config, "attention_layer_norm"),
            norm_after=flag(config, "norm_after"),
            vision=vision,
            feature_layers=_feature_layers(fixed, vision.num_hidden_layers),
        )


def _decoder(config: Mapping[str, Any]) -> DecoderParams:
    hidden, heads, kv_heads = read_heads(config, HIDDEN_SIZE, HEADS)
    if hidden // heads % 2:
        raise ValueError(f"hidden_size / num_attention_heads is {hidden // heads}; RoPE rotates pairs, it must be even")
    both = count(config, "intermediate_size", INTERMEDIATE_SIZE)
    if both % 2:
        raise ValueError(f"intermediate_size is {both}; it counts the gate and what it gates, so it must be even")
    return DecoderParams(
        hidden_size=hidden,
        intermediate_size=both // 2,
        num_heads=heads,
        num_kv_heads=kv_heads,
        rms_norm_eps=number(config, "layer_norm_eps", EPS),
    )


def _tower(vision: Mapping[str, Any]) -> ClipVisionParams:
    hidden = count(vision, "image_emb_dim", TOWER.hidden_size)
    heads = count(vision, "image_num_heads", TOWER.num_attention_heads)
    check_multiple("image_emb_dim", hidden, "image_num_heads", heads)
    for key, expected in (("image_num_key_value_heads", heads), ("image_head_dim", hidden // heads)):
        if count(vision, key, expected) != expected:
            raise ValueError(f"{key} is {vision[key]}; known is image_emb_dim in image_num_heads parts, {expected}")
    return ClipVisionParams(
        hidden_size=hidden,
        intermediate_size=count(vision, "image_mlp_dim", TOWER.intermediate_size),
        num_hidden_layers=layer_count(vision, "image_num_layers", TOWER.num_hidden_layers),
        num_attention_heads=heads,
        layer_norm_eps=number(vision, "image_norm_eps", TOWER.layer_norm_eps),
    )


def _feature_layers(fixed: Mapping[str, Any], layers: int) -> tuple[int, ...]:
    """Indices of blocks, counted from the first."""
    given = fixed.get("vit_layers", list(FEATURE_LAYERS))
    if (
        not isinstance(given, list)
        or not given
        or not all(type(one) is int and -layers <= one < layers for one in given)
    ):
        raise ValueError(f"vit_layers is {given!r:.40}, expected indices of the tower's {layers} layers")
    return tuple(one % layers for one in given)


def context_length(config: Mapping[str, Any]) -> int:
    """Tokens of the longest sequence; raises ValueError."""
    return count(config, "max_position_embeddings", CONTEXT)
