"""Every number of a LLaVA-NeXT model, read from the checkpoint's `config.json`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexus_edge.configs.reading import read_heads, read_params
from nexus_edge.configs.rope import read_rope
from nexus_edge.configs.values import choice, count, flag, integer, layer_count, number
from nexus_edge.layers.params import ACTIVATION_NAMES, ClipVisionParams, DecoderParams, LlamaParams, read_clip
from nexus_edge.models.llava_next.anyres import AnyRes, read_anyres
from nexus_edge.models.llava_next.config_keys import CONFIG
from nexus_edge.models.llava_next.defaults import FEATURE_LAYER, image_token, text_config, vision_config

MODEL_TYPE = "llava_next"


@dataclass(frozen=True)
class LlavaNextParams:
    """The numbers of a LLaVA-NeXT.

    Attributes:
        image_token: id that stands for an image feature
        projector_act, projector_bias: of the two layers between tower and decoder
    """

    text: LlamaParams
    vision: ClipVisionParams
    anyres: AnyRes
    image_token: int
    projector_act: str
    projector_bias: bool

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> "LlavaNextParams":
        """From the parsed `config.json`, of transformers before and after 4.52, and of 5.

        Raises:
            CheckpointError: a key is not known, or holds what this model cannot be built from.
        """
        return read_params(config, MODEL_TYPE, CONFIG, cls._from_json)

    @classmethod
    def _from_json(cls, config: Mapping[str, Any]) -> "LlavaNextParams":
        text = _text_params(text_config(config), _is_tied(config))
        token = image_token(config)
        if token >= text.vocab_size:
            raise ValueError(f"image_token_index is {token}, and vocab_size {text.vocab_size}; it must be below")
        return cls(
            text=text,
            vision=read_clip(vision_config(config), _feature_layer(config), "vision_feature_layer"),
            anyres=read_anyres(config),
            image_token=token,
            projector_act=choice(config, "projector_hidden_act", ACTIVATION_NAMES, "gelu"),
            projector_bias=flag(config, "multimodal_projector_bias", default=True),
        )


def _is_tied(config: Mapping[str, Any]) -> bool:
    """Whether the head's weight is the embedding's. Versions of transformers differ in which of the keys they read."""
    inside, outside = flag(text_config(config), "tie_word_embeddings"), flag(config, "tie_word_embeddings")
    if inside != outside:
        raise ValueError(
            f"tie_word_embeddings is {outside}, and text_config.tie_word_embeddings {inside}; correct the wrong one"
        )
    return inside


def _feature_layer(config: Mapping[str, Any]) -> int:
    value = config.get("vision_feature_layer")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list):
        raise ValueError(f"vision_feature_layer is {value!r:.40}; features of one layer go into the projector")
    return integer({"vision_feature_layer": value}, "vision_feature_layer", FEATURE_LAYER)


def _text_params(text: Mapping[str, Any], tied: bool) -> LlamaParams:
    hidden, heads, kv_heads = read_heads(text)
    head_dim = count(text, "head_dim", hidden // heads)
    if head_dim != hidden // heads or head_dim % 2:
        raise ValueError(f"head_dim is {head_dim}; known is hidden_size / num_attention_heads, an even number")
    context = count(text, "max_position_embeddings")
    return LlamaParams(
        vocab_size=count(text, "vocab_size"),
        num_hidden_layers=layer_count(text, "num_hidden_layers"),
        max_position_embeddings=context,
        decoder=DecoderParams(
            hidden_size=hidden,
            intermediate_size=count(text, "intermediate_size"),
            num_heads=heads,
            num_kv_heads=kv_heads,
            rms_norm_eps=number(text, "rms_norm_eps"),
            window=_window(text, context),
            hidden_act=choice(text, "hidden_act", ACTIVATION_NAMES, "silu"),
            fused=False,
        ),
        rope_theta=read_rope(text, head_dim, context).theta,
        tied=tied,
    )


def _window(text: Mapping[str, Any], context: int) -> int:
    """Tokens before itself that a token sees, -1 for all: Mistral's window counts the token itself."""
    if text.get("sliding_window") is None:
        return -1
    if text["model_type"] != "mistral":
        raise ValueError(f"text_config.sliding_window is {text['sliding_window']!r:.40}; only Mistral has one")
    window = count(text, "sliding_window", most=sys.maxsize)
    # A window as long as the context hides nothing; the fused kernels are spared it.
    return -1 if window >= context else window - 1
