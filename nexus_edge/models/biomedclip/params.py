"""Every number of a BiomedCLIP, read from open_clip's configuration and the one of its BERT."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexus_edge.configs.reading import read_params
from nexus_edge.configs.values import check_multiple, count, layer_count, number, side, table
from nexus_edge.layers.params import BertParams, VitParams
from nexus_edge.models.biomedclip.config_keys import OPEN_CLIP

MODEL_TYPE = "biomedclip"

# timm's plain vision transformers: vit_<size>_patch<pixels>_<pixels>[.<weights>]
_TIMM_NAME = re.compile(r"vit_(tiny|small|base|large)_patch(\d+)_(\d+)(?:\.\w+)?")
_PUBLISHED_NAME = re.compile(r"\w*vit\w*_patch\d+_\w+(?:\.\w+)?")
"""As timm names what it publishes: siglip, clip, dinov2, ... stand after the patch, and are built otherwise."""
_TIMM_SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
"""Width, layers, heads."""
_MLP_RATIO = 4

CONTEXT_LENGTH = 77  # what open_clip takes where the file names none


@dataclass(frozen=True)
class BiomedClipParams:
    """The numbers of both towers, the width of the space they share, and the most tokens of a text."""

    vision: VitParams
    text: BertParams
    embed_dim: int
    context_length: int

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> "BiomedClipParams":
        """From `open_clip_config.json` with `model_type` and the BERT's `text_config` added, see `FolderCheckpoint`.

        Raises:
            CheckpointError: a key is missing, or not known, or holds what this model cannot be built from.
        """
        return read_params(config, MODEL_TYPE, OPEN_CLIP, cls._from_json, "open_clip_config.json")

    @classmethod
    def _from_json(cls, config: Mapping[str, Any]) -> "BiomedClipParams":
        model = table(config, "model_cfg")
        bert = _text_params(table(config, "text_config"))
        context = count(table(model, "text_cfg"), "context_length", CONTEXT_LENGTH)
        if context > bert.max_position_embeddings:
            raise ValueError(f"context_length {context} exceeds BERT's {bert.max_position_embeddings} positions")
        return cls(_vision_params(table(model, "vision_cfg")), bert, count(model, "embed_dim"), context)


def _vision_params(vision: Mapping[str, Any]) -> VitParams:
    """From `vision_cfg`: numbers in `timm_kwargs` (there is no such key in open_clip itself), else timm's name."""
    numbers, name = table(vision, "timm_kwargs") or table(vision, "_golden_timm_kwargs"), vision["timm_model_name"]
    if not isinstance(name, str) or (_PUBLISHED_NAME.fullmatch(name) and not _TIMM_NAME.fullmatch(name)):
        raise ValueError(f"timm_model_name is {name!r:.60}, which is another architecture than timm's plain ViT")
    params = _explicit(numbers, side(vision, "image_size")) if numbers else _by_name(name)
    if side(vision, "image_size") != params.image_size:
        raise ValueError(f"image_size {vision['image_size']} is not that of {vision['timm_model_name']}")
    check_multiple("image_size", params.image_size, "the patch size", params.patch_size)
    check_multiple("vision width", params.hidden_size, "the number of heads", params.num_attention_heads)
    return params


def _by_name(name: str) -> VitParams:
    match = _TIMM_NAME.fullmatch(name)
    if match is None:
        known = "vit_{tiny,small,base,large}_patch<P>_<S>"
        raise ValueError(f"timm_model_name is {name!r:.60}, known are {known}, or give timm_kwargs beside it")
    width, layers, heads = _TIMM_SIZES[match[1]]
    return VitParams(width, _MLP_RATIO * width, layers, heads, image_size=int(match[3]), patch_size=int(match[2]))


def _explicit(numbers: Mapping[str, Any], image_size: int) -> VitParams:
    width, key = count(numbers, "embed_dim"), "embed_dim * mlp_ratio"
    return VitParams(
        hidden_size=width,
        intermediate_size=count({key: int(width * number(numbers, "mlp_ratio", _MLP_RATIO))}, key),
        num_hidden_layers=layer_count(numbers, "depth"),
        num_attention_heads=count(numbers, "num_heads"),
        image_size=image_size,
        patch_size=count(numbers, "patch_size"),
    )


def _text_params(bert: Mapping[str, Any]) -> BertParams:
    try:
        return _bert_params(bert)
    except (TypeError, ValueError) as error:
        raise ValueError(f"text_config: {error}") from error


def _bert_params(bert: Mapping[str, Any]) -> BertParams:
    """From the BERT's own configuration, where an absent number is BERT-base's."""
    default = BertParams()
    params = BertParams(
        vocab_size=count(bert, "vocab_size", default.vocab_size),
        hidden_size=count(bert, "hidden_size", default.hidden_size),
        intermediate_size=count(bert, "intermediate_size", default.intermediate_size),
        num_hidden_layers=layer_count(bert, "num_hidden_layers", default.num_hidden_layers),
        num_attention_heads=count(bert, "num_attention_heads", default.num_attention_heads),
        max_position_embeddings=count(bert, "max_position_embeddings", default.max_position_embeddings),
        type_vocab_size=count(bert, "type_vocab_size", default.type_vocab_size),
        layer_norm_eps=number(bert, "layer_norm_eps", default.layer_norm_eps),
    )
    check_multiple("hidden_size", params.hidden_size, "num_attention_heads", params.num_attention_heads)
    return params
