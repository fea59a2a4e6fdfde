"""Every key of the files of a Molmo checkpoint.

Source: the authors' config_molmo.py, modeling_molmo.py, image_preprocessing_molmo.py and preprocessing_molmo.py; what
they read, what they take for an absent key, and what modeling_molmo.py has no key for.
"""

from nexus_edge.configs.keys import Inert, Only, Read, Rules, Table
from nexus_edge.configs.transformers import GENERATION_CONFIG, MODEL, SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG

_TOWER: Rules = {
    **dict.fromkeys(("image_emb_dim", "image_mlp_dim", "image_num_layers", "image_num_heads"), Read("the tower")),
    "image_norm_eps": Read("the tower"),
    **dict.fromkeys(("image_num_key_value_heads", "image_head_dim"), Read("compared with the tower's heads")),
    "image_default_input_size": Only(([336, 336],), "the crops have 336 pixels"),
    **dict.fromkeys(("image_patch_size", "image_pos_patch_size"), Only((14,), "a crop has 24 x 24 patches")),
    "image_num_pos": Only((577,), "a crop has 24 x 24 patches, and the class token"),
    "image_mlp_activations": Only(("quick_gelu",), "the tower is CLIP's"),
}

_FIXED = "the published models have no other"
_HARD_CODED: Rules = {
    "vision_backbone": Table(_TOWER),
    "additional_vocab_size": Read("embeddings beyond embedding_size"),
    "vit_layers": Read("which layers' outputs are taken"),
    "image_padding_embed": Only(("pad_and_partial_pad",), _FIXED),
    "image_pooling_2d": Only(("attention-meanq",), _FIXED),
    **dict.fromkeys(("image_pooling_h", "image_pooling_w"), Only((2,), _FIXED)),
    "image_projector": Only(("mlp",), _FIXED),
    "rope_impl": Only(("llama",), "the kernels rotate the halves of a head"),
    "float32_attention": Inert("how scores are held; here the kernels decide"),
}

_MIXTURE = "mixtures of experts (MolmoE) are not built here"
CONFIG: Rules = {
    **MODEL,
    **dict.fromkeys(("vocab_size", "embedding_size"), Read("embeddings, and the ids of image tokens")),
    **dict.fromkeys(("hidden_size", "intermediate_size", "num_hidden_layers"), Read("sizes")),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads"), Read("sizes")),
    "max_position_embeddings": Read("the context"),
    "layer_norm_eps": Read("norms"),
    "layer_norm_type": Only(("rms",), "the kernels are of RMS norms"),
    "rope_theta": Read("base of the frequencies"),
    "qkv_bias": Read("biases of att_proj"),
    "attention_layer_norm": Read("norms of query and key"),
    "norm_after": Read("whether a block's norms come after what they belong to"),
    "clip_qkv": Only((), "query, key and value would be clipped"),
    "weight_tying": Only((False,), "the language head has weights of its own"),
    "tie_word_embeddings": Inert("modeling_molmo.py asks weight_tying instead"),
    "use_position_ids": Only((True,), "positions do not count padding"),
    "_golden_hardcoded": Table(_HARD_CODED),
    **dict.fromkeys(("moe_num_experts", "moe_top_k", "moe_mlp_impl", "moe_dropless"), Only((), _MIXTURE)),
    "block_type": Only(("sequential",), _MIXTURE),
}

_CLASSES = Inert("names classes of Python")
PREPROCESSOR: Rules = {
    **dict.fromkeys(("auto_map", "image_processor_type", "processor_class", "feature_extractor_type"), _CLASSES),
    "max_crops": Read("crops of an image", required=True),
    "overlap_margins": Only(([4, 4],), "the crops overlap by 4 patches on each side"),
    "base_image_input_size": Only(([336, 336],), "the crops have 336 pixels"),
    **dict.fromkeys(("image_token_length_w", "image_token_length_h"), Only((12,), "2 x 2 patches become a token")),
    "image_patch_size": Only((14,), "a crop has 24 x 24 patches"),
    "image_padding_mask": Only((True,), "the tower's features are marked where a patch is padding"),
    "do_normalize": Only((True,), "the original's processor always does so"),
    "image_mean": Read("normalisation"),
    "image_std": Read("normalisation"),
    **dict.fromkeys(("return_tensors", "device", "input_data_format"), Inert("says what a Python call returns")),
}

FILES: dict[str, Rules] = {
    "config.json": CONFIG,
    "preprocessor_config.json": PREPROCESSOR,
    "processor_config.json": dict.fromkeys(("processor_class", "auto_map"), _CLASSES),
    "generation_config.json": GENERATION_CONFIG,
    "special_tokens_map.json": SPECIAL_TOKENS_MAP,
    "tokenizer_config.json": {
        **TOKENIZER_CONFIG,
        "bos_token": Read("begins a prompt; without one eos_token does"),
        "eos_token": Read("the processor's stop ids"),
        "add_bos_token": Inert("the authors' processor puts the first token itself"),
        "add_eos_token": Only((False,), "an end token after the prompt ends the conversation"),
        "add_prefix_space": Inert("tokenizer.json, which tokenizes, has it already"),
        "errors": Inert("for ids that are no text"),
        "chat_template": Inert("the decoder's own from before its training with images; the authors' code never asks"),
        "clean_up_tokenization_spaces": Only((False,), "true would remove spaces from answers"),
        "spaces_between_special_tokens": Inert("special tokens are never part of an answer"),
        "auto_map": _CLASSES,
    },
}
"""File -> its keys."""
