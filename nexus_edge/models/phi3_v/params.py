"""Every number of a Phi-3-Vision model, read from the checkpoint's `config.json`."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus_edge.configs.reading import read_heads, read_params
from nexus_edge.configs.rope import LongRopeParams, read_rope
from nexus_edge.configs.values import choice, count, flag, integer, layer_count, number, table
from nexus_edge.layers.params import ACTIVATION_NAMES, CLIP_DEFAULTS, ClipVisionParams, DecoderParams, read_clip
from nexus_edge.models.phi3_v.config_keys import CONFIG, context_length

MODEL_TYPE = "phi3_v"
PACKAGE = Path(__file__).parents[2]
HD_ORDERS = ("sub_glb", "glb_sub")
"""Crops before the global view, as in the published models, or after it, which the authors' code does by default."""

# What the authors' configuration class takes for absent keys.
RMS_NORM_EPS, LAYER_IDX = 1e-5, -2


@dataclass(frozen=True)
class Phi3VisionParams:
    """The numbers of a Phi-3-Vision; sizes in channels, counts of layers, heads and tokens.

    Attributes:
        global_first: an image's features begin with the global view ("glb_sub"), not with the crops ("sub_glb")
        tied: the language head's weight is the embedding's
    """

    vocab_size: int
    num_hidden_layers: int
    max_position_embeddings: int
    decoder: DecoderParams
    rope: LongRopeParams
    vision: ClipVisionParams
    global_first: bool = False
    tied: bool = False

    @property
    def hidden_size(self) -> int:
        return self.decoder.hidden_size

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> "Phi3VisionParams":
        """From the parsed `config.json`.

        The official file does not describe the CLIP tower: ViT-L/14-336 is the default, and an object
        `img_processor.vision_config` with CLIP's own key names overrides it.

        Raises:
            CheckpointError: a key is missing, or not known, or holds what this model cannot be built from.
        """
        return read_params(config, MODEL_TYPE, CONFIG, cls._from_json)

    @classmethod
    def _from_json(cls, config: Mapping[str, Any]) -> "Phi3VisionParams":
        hidden, heads, kv_heads = read_heads(config)
        head_dim = count(config, "head_dim", hidden // heads)
        if head_dim != hidden // heads:
            raise ValueError(
                f"head_dim is {head_dim}; this model has hidden_size / num_attention_heads, {hidden // heads}"
            )
        if head_dim % 2:
            raise ValueError(f"hidden_size / num_attention_heads is {head_dim}; RoPE rotates pairs, it must be even")
        context = context_length(config)
        window = count(config, "sliding_window", context, most=sys.maxsize)  # often just "very long"
        return cls(
            vocab_size=count(config, "vocab_size"),
            num_hidden_layers=layer_count(config, "num_hidden_layers"),
            max_position_embeddings=context,
            decoder=DecoderParams(
                hidden_size=hidden,
                intermediate_size=count(config, "intermediate_size"),
                num_heads=heads,
                num_kv_heads=kv_heads,
                rms_norm_eps=number(config, "rms_norm_eps", RMS_NORM_EPS),
                # A window as long as the context hides nothing; the fused kernels are spared it.
                window=-1 if window >= context else window,
                hidden_act=choice(config, "hidden_act", ACTIVATION_NAMES, "silu"),
            ),
            rope=read_rope(config, head_dim, context),
            vision=_vision_params(config),
            global_first=choice(table(config, "embd_layer"), "hd_transform_order", HD_ORDERS, "glb_sub") == "glb_sub",
            tied=flag(config, "tie_word_embeddings"),
        )

    @classmethod
    def phi3_vision(cls) -> "Phi3VisionParams":
        """microsoft/Phi-3-vision-128k-instruct."""
        return cls.from_json(published_config("phi3_vision"))

    @classmethod
    def phi3_5_vision(cls) -> "Phi3VisionParams":
        """microsoft/Phi-3.5-vision-instruct."""
        return cls.from_json(published_config("phi3_5_vision"))

    @classmethod
    def tiny(cls) -> "Phi3VisionParams":
        """The embedded checkpoint that this project trains."""
        return cls.from_json(json.loads((PACKAGE / "assets/tiny_phi3_v/config.json").read_text("utf-8")))


def published_config(name: str) -> dict[str, Any]:
    """The `config.json` numbers that were published for a model."""
    data = json.loads((PACKAGE / f"models/phi3_v/published/{name}.json").read_text("utf-8"))
    config: dict[str, Any] = data["config"]
    return config


def _vision_params(config: Mapping[str, Any]) -> ClipVisionParams:
    processor = table(config, "img_processor")
    vision = table(processor, "vision_config") or table(config, "_golden_clip_vision_config")
    params = read_clip(vision, integer(processor, "layer_idx", LAYER_IDX), "img_processor.layer_idx")
    if params.image_size != CLIP_DEFAULTS.image_size or params.patch_size != CLIP_DEFAULTS.patch_size:
        raise ValueError("the HD layout needs crops of 336 pixels and patches of 14")
    width = count(processor, "image_dim_out", params.hidden_size)
    if width != params.hidden_size:
        raise ValueError(f"img_processor.image_dim_out is {width}, and the tower's hidden_size {params.hidden_size}")
    return params
