"""Every key of the files of a Phi-3-Vision checkpoint.

Source: the authors' configuration_phi3_v.py, image_embedding_phi3_v.py, modeling_phi3_v.py and
image_processing_phi3_v.py; what they read and what they take for an absent key.
"""

from collections.abc import Mapping
from typing import Any

from nexus_edge.configs.keys import Inert, Only, Read, Rules, Table
from nexus_edge.configs.rope import ROPE_KEYS
from nexus_edge.configs.transformers import GENERATION_CONFIG, MODEL, SPECIAL_TOKENS_MAP, TEMPLATE, TOKENIZER_CONFIG
from nexus_edge.configs.values import count

CONTEXT = 4096
"""Tokens of the longest sequence where a config.json names none, in the authors' configuration class."""

CLIP = "openai/clip-vit-large-patch14-336"

_VISION: Rules = {
    **MODEL,
    **dict.fromkeys(
        ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"), Read("the tower")
    ),
    **dict.fromkeys(("image_size", "patch_size", "layer_norm_eps", "hidden_act"), Read("the tower")),
    "num_channels": Only((3,), "images have red, green and blue"),
    "projection_dim": Inert("of CLIP's own head, which Phi-3-Vision does not have"),
    "model_type": Only(("clip_vision_model",), "the tower is CLIP's"),
    "eos_token_id": Inert("a vision tower has no tokens"),
}

_IMG_PROCESSOR: Rules = {
    "name": Only(("clip_vision_model",), "the authors' code knows no other tower"),
    "model_name": Only((CLIP,), "the authors' code knows no other tower; its numbers go into vision_config"),
    "image_dim_out": Read("compared with the tower's width"),
    "num_img_tokens": Only((144,), "a crop has 24 x 24 patches, joined 2 x 2"),
    "layer_idx": Read("which layer's output is taken"),
    "type_feature": Only(("patch",), "the HD layout has no place for the class token"),
    "vision_config": Table(_VISION),
}

_EMBD_LAYER: Rules = {
    "embedding_cls": Only(("image",), "the authors' code knows no other"),
    "hd_transform_order": Read("the order of crops and global view"),
    "use_hd_transform": Only(
        (True,), "the authors' processor makes crops, which only the HD layout takes", absent=False
    ),
    "with_learnable_separator": Only((True,), "it goes with use_hd_transform", absent=False),
    "projection_cls": Only(
        ("mlp",), "a linear projection is as wide as one patch, and the HD layout joins four", absent="linear"
    ),
}

CONFIG: Rules = {
    **MODEL,
    **ROPE_KEYS,
    **dict.fromkeys(
        ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"), Read("sizes", required=True)
    ),
    "num_attention_heads": Read("sizes", required=True),
    "num_key_value_heads": Read("sizes"),
    "head_dim": Read("compared with hidden_size / num_attention_heads"),
    "hidden_act": Read("the gate of the MLP"),
    "rms_norm_eps": Read("norms"),
    "max_position_embeddings": Read("the context"),
    "sliding_window": Read("attention"),
    "tie_word_embeddings": Read("where lm_head's weight is"),
    "attention_bias": Only((False,), "the projections have no biases"),
    "mlp_bias": Only((False,), "the projections have no biases"),
    "use_sliding_window": Only((True,), "with sliding_window null it is off"),
    "embd_layer": Table(_EMBD_LAYER, required=True),
    "img_processor": Table(_IMG_PROCESSOR),
    "_golden_clip_vision_config": Table(_VISION),
    "layer_types": Only((), "this model has one kind of layer"),
}

_ALWAYS = "the authors' processor always does so"
PREPROCESSOR: Rules = {
    **dict.fromkeys(("auto_map", "image_processor_type", "processor_class"), Inert("names classes of Python")),
    **dict.fromkeys(("feature_extractor_type", "_processor_class"), Inert("names classes of Python")),
    "num_crops": Read("crops of an image", required=True),
    "num_img_tokens": Only((144,), "a crop has 24 x 24 patches, joined 2 x 2"),
    "image_mean": Read("normalisation"),
    "image_std": Read("normalisation"),
    **dict.fromkeys(("do_convert_rgb", "do_rescale", "do_normalize", "do_resize"), Only((True,), _ALWAYS)),
    "do_center_crop": Only((False,), "the authors' processor never does so"),
    "rescale_factor": Only((1 / 255,), "the authors' processor always divides by 255"),
    "data_format": Only(("channels_first",), "the tower takes channels first"),
    **dict.fromkeys(("return_tensors", "device", "input_data_format"), Inert("says what a Python call returns")),
}


def context_length(config: Mapping[str, Any]) -> int:
    """Tokens of the longest sequence of a parsed config.json; raises ValueError."""
    return count(config, "max_position_embeddings", CONTEXT)


def has_window(config: Mapping[str, Any]) -> bool:
    """Whether a parsed config.json hides tokens from those far after them: a window shorter than the context."""
    window = config.get("sliding_window")
    return window is not None and bool(window < context_length(config))


FILES: dict[str, Rules] = {
    "config.json": CONFIG,
    "preprocessor_config.json": PREPROCESSOR,
    "generation_config.json": GENERATION_CONFIG,
    "special_tokens_map.json": SPECIAL_TOKENS_MAP,
    "chat_template.json": {"chat_template": TEMPLATE},
    "processor_config.json": {
        **dict.fromkeys(("processor_class", "auto_map"), Inert("names classes of Python")),
        "chat_template": TEMPLATE,
    },
    "tokenizer_config.json": {
        **TOKENIZER_CONFIG,
        "bos_token": Read("begins every text"),
        "add_bos_token": Read("whether a text begins with bos_token"),
        "eos_token": Read("the processor's stop ids"),
        "add_eos_token": Only((False,), "an end token after the prompt ends the conversation"),
        "add_prefix_space": Inert("tokenizer.json, which tokenizes, has it already"),
        "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": Only((False,), "true would remove spaces from answers"),
        "spaces_between_special_tokens": Inert("special tokens are never part of an answer"),
        "image_token": Inert("images are written as <|image_1|>, <|image_2|>, ..."),
    },
}
"""File -> its keys."""
