"""Every key of the files of a LLaVA-NeXT checkpoint.

Source: transformers' configuration, processor and image processor of the model in 4.39 (the published files), 4.52 and
5.23, which write the same numbers in other places; see `defaults` for absent keys.
"""

from nexus_edge.configs.keys import Compared, Inert, Only, Read, Rules, Table
from nexus_edge.configs.transformers import GENERATION_CONFIG, MODEL, SPECIAL_TOKENS_MAP, TEMPLATE, TOKENIZER_CONFIG

_PLAIN = "positions are rotated by plain RoPE"
_ROPE: Rules = {
    **dict.fromkeys(("type", "rope_type"), Only(("default",), _PLAIN)),
    "rope_theta": Read("base of the frequencies"),
    **dict.fromkeys(("factor", "attention_factor", "low_freq_factor", "high_freq_factor"), Only((), _PLAIN)),
    **dict.fromkeys(("short_factor", "long_factor", "beta_fast", "beta_slow"), Only((), _PLAIN)),
    "original_max_position_embeddings": Only((), _PLAIN),
    "partial_rotary_factor": Only((1, 1.0), "the kernels rotate whole heads"),
}

_TEXT: Rules = {
    **MODEL,
    **dict.fromkeys(("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"), Read("sizes")),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads"), Read("sizes")),
    "head_dim": Read("compared with hidden_size / num_attention_heads"),
    "hidden_act": Read("the gate of the MLP"),
    "rms_norm_eps": Read("norms"),
    "max_position_embeddings": Read("the context"),
    "sliding_window": Read("attention"),
    "tie_word_embeddings": Read("compared with the one outside of text_config"),
    "rope_theta": Read("base of the frequencies"),
    "rope_scaling": Table(_ROPE),
    "rope_parameters": Table(_ROPE),
    "attention_bias": Only((False,), "the projections have no biases"),
    "mlp_bias": Only((False,), "the projections have no biases"),
    "layer_types": Only((), "this model has one kind of layer"),
}

_VISION: Rules = {
    **MODEL,
    **dict.fromkeys(
        ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"), Read("the tower")
    ),
    **dict.fromkeys(("image_size", "patch_size", "layer_norm_eps", "hidden_act"), Read("the tower")),
    "num_channels": Only((3,), "images have red, green and blue"),
    "model_type": Only(("clip_vision_model",), "the tower is CLIP's"),
    "projection_dim": Inert("of CLIP's own head, which LLaVA-NeXT does not have"),
    "vocab_size": Inert("a vision tower has no tokens"),
    "eos_token_id": Inert("a vision tower has no tokens"),
    "tie_word_embeddings": Inert("a vision tower has no tokens"),
}

CONFIG: Rules = {
    **MODEL,
    "text_config": Table(_TEXT),
    "vision_config": Table(_VISION),
    **dict.fromkeys(("image_token_index", "image_token_id"), Read("the id that stands for an image feature")),
    "image_grid_pinpoints": Read("the grids that images are cut into"),
    "projector_hidden_act": Read("the projector"),
    "multimodal_projector_bias": Read("the projector"),
    "vision_feature_layer": Read("which layer's output is taken"),
    "vision_feature_select_strategy": Only(("default",), "the layout has no place for the class token"),
    "use_image_newline_parameter": Only((True,), "every row of the tiles ends in image_newline"),
    "tie_word_embeddings": Read("where lm_head's weight is"),
    "image_seq_length": Inert("the number of features follows from the image"),
    "ignore_index": Inert("only training reads it"),
    "vocab_size": Inert("that of text_config counts"),
}

_ALWAYS = "the original's processor always does so"
_CLASSES = Inert("names classes of Python")
IMAGE_PROCESSOR: Rules = {
    **dict.fromkeys(("image_processor_type", "processor_class", "feature_extractor_type", "auto_map"), _CLASSES),
    "_processor_class": _CLASSES,
    "image_grid_pinpoints": Compared("those of config.json"),
    **dict.fromkeys(("size", "crop_size"), Compared("the tower's image_size")),
    "aspect_ratio_setting": Only(("anyres",), "images are cut into tiles"),
    "image_mean": Read("normalisation"),
    "image_std": Read("normalisation"),
    **dict.fromkeys(("do_convert_rgb", "do_rescale", "do_normalize", "do_resize"), Only((True,), _ALWAYS)),
    "do_pad": Only((True,), "images of one call are padded to as many tiles"),
    "do_center_crop": Inert("the views have the size of the crop already"),
    "rescale_factor": Only((1 / 255,), "pixels are always divided by 255"),
    "resample": Only((3,), "tiles are resized by the bicubic filter"),
    "default_to_square": Inert("views are square in any case"),
    "data_format": Only(("channels_first",), "the tower takes channels first"),
    **dict.fromkeys(("return_tensors", "device", "input_data_format"), Inert("says what a Python call returns")),
    "disable_grouping": Inert("how a Python implementation computes, not what"),
}

PROCESSOR: Rules = {
    "processor_class": _CLASSES,
    "auto_map": _CLASSES,
    "image_processor": Table(IMAGE_PROCESSOR),
    "image_token": Only(("<image>",), "images are written as <image>"),
    "patch_size": Compared("the tower's patch_size"),
    "vision_feature_select_strategy": Only(("default",), "the layout has no place for the class token"),
    "num_additional_image_tokens": Inert("the class token, which vision_feature_select_strategy takes off again"),
    "chat_template": TEMPLATE,
}

FILES: dict[str, Rules] = {
    "config.json": CONFIG,
    "preprocessor_config.json": IMAGE_PROCESSOR,
    "processor_config.json": PROCESSOR,
    "chat_template.json": {"chat_template": TEMPLATE},
    "generation_config.json": GENERATION_CONFIG,
    "special_tokens_map.json": SPECIAL_TOKENS_MAP,
    "tokenizer_config.json": {
        **TOKENIZER_CONFIG,
        "bos_token": Read("begins every text, where the tokenizer adds one"),
        "add_bos_token": Read("whether a text begins with bos_token"),
        "eos_token": Read("the processor's stop ids"),
        "add_eos_token": Only((False,), "an end token after the prompt ends the conversation"),
        "add_prefix_space": Inert("tokenizer.json, which tokenizes, has it already"),
        "errors": Inert("for ids that are no text"),
        "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": Only((False,), "true would remove spaces from answers"),
        "spaces_between_special_tokens": Inert("special tokens are never part of an answer"),
        "image_token": Only(("<image>",), "images are written as <image>"),
    },
}
"""File -> its keys."""
