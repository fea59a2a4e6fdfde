"""Every key of the files of an open_clip checkpoint with a timm tower and a BERT.

Source: open_clip 3.3, `CLIPVisionCfg`, `CLIPTextCfg`, `PreprocessCfg`, `_build_vision_tower`, `_build_text_tower` and
`HFTokenizer`; transformers' `BertConfig`.
"""

from nexus_edge.configs.keys import Inert, Only, Read, Rules, Table
from nexus_edge.configs.transformers import MODEL, SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG

_OWN_VISION = Inert("of open_clip's own vision towers; with timm_model_name nothing reads it")
_OWN_TEXT = Inert("of open_clip's own text tower; with hf_model_name nothing reads it")
_TRAINING = Inert("only training reads it")
_OUTPUTS = Inert("says what a Python call returns")

_TIMM: Rules = dict.fromkeys(("patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio"), Read("the image tower"))

_VISION_CFG: Rules = {
    **dict.fromkeys(("timm_model_name", "image_size"), Read("the image tower", required=True)),
    "timm_kwargs": Table(_TIMM),
    "_golden_timm_kwargs": Table(_TIMM),
    "timm_pool": Only(("", "token"), "an image's embedding is its class token's", absent="avg"),
    "timm_proj": Only(("linear",), "the projection is one matrix"),
    "timm_proj_bias": Only((False,), "the projection has no bias"),
    **dict.fromkeys(("timm_model_pretrained", "timm_drop", "timm_drop_path", "patch_dropout"), _TRAINING),
    **dict.fromkeys(("layers", "width", "head_width", "mlp_ratio", "patch_size", "ls_init_value"), _OWN_VISION),
    **dict.fromkeys(("attentional_pool", "attn_pooler_queries", "attn_pooler_heads", "no_ln_pre"), _OWN_VISION),
    **dict.fromkeys(("pos_embed_type", "final_ln_after_pool", "pool_type"), _OWN_VISION),
    **dict.fromkeys(("act_kwargs", "norm_kwargs", "block_type", "qk_norm", "scaled_cosine_attn"), _OWN_VISION),
    **dict.fromkeys(("scale_heads", "scale_attn_inner", "scale_attn", "scale_fc"), _OWN_VISION),
    "output_tokens": _OUTPUTS,
}

_TEXT_CFG: Rules = {
    "hf_model_name": Read("the text tower", required=True),
    "hf_tokenizer_name": Read("the folder of the tokenizer"),
    "hf_proj_type": Only(("mlp",), "the projection has two layers"),
    "hf_pooler_type": Only(
        ("cls_last_hidden_state_pooler",), "a text's embedding is its class token's", absent="mean_pooler"
    ),
    "context_length": Read("tokens of a text"),
    "tokenizer_mode": Only(("",), "HFTokenizer has the mode of BERT"),
    "tokenizer_kwargs": Table(
        {
            "clean": Only(("whitespace",), "another cleaning gives other tokens"),
            "strip_sep_token": Only((False,), "the end token is part of what the text tower read"),
            "language": Only((), "texts have no language token"),
        }
    ),
    "hf_model_pretrained": _TRAINING,
    **dict.fromkeys(("vocab_size", "width", "heads", "layers", "mlp_ratio", "ls_init_value"), _OWN_TEXT),
    **dict.fromkeys(("embed_cls", "pad_id", "eos_id", "no_causal_mask", "final_ln_after_pool"), _OWN_TEXT),
    **dict.fromkeys(("pool_type", "proj_type", "proj_bias", "act_kwargs", "norm_kwargs"), _OWN_TEXT),
    **dict.fromkeys(("block_type", "qk_norm", "scaled_cosine_attn", "scale_heads"), _OWN_TEXT),
    **dict.fromkeys(("scale_attn_inner", "scale_attn", "scale_fc"), _OWN_TEXT),
    "output_tokens": _OUTPUTS,
}

_PREPROCESS: Rules = {
    "mean": Read("normalisation"),
    "std": Read("normalisation"),
    "size": Read("compared with the tower's image_size"),
    "interpolation": Read("the resize"),
    "mode": Only(("RGB",), "the tower reads red, green and blue"),
    "resize_mode": Only(("shortest",), "an image is resized by its shortest side and cropped"),
    "fill_color": Inert("for padding, which resize_mode 'shortest' never does"),
}

PROCESSING: Rules = {
    "preprocess_cfg": Table(_PREPROCESS),
    "model_cfg": Table({"text_cfg": Table({name: _TEXT_CFG[name] for name in ("tokenizer_mode", "tokenizer_kwargs")})}),
}
"""What changes pixels and ids: checked wherever a processor is opened, also in a bundle that was made elsewhere."""

BERT: Rules = {
    **MODEL,
    **dict.fromkeys(("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"), Read("the text tower")),
    **dict.fromkeys(("num_attention_heads", "max_position_embeddings", "type_vocab_size"), Read("the text tower")),
    "layer_norm_eps": Read("norms"),
    "model_type": Only(("bert",), "the text tower is a BERT"),
    "hidden_act": Only(("gelu",), "BERT's MLP has the exact GELU"),
    "position_embedding_type": Only(("absolute",), "positions are embeddings"),
    "pad_token_id": Only((0,), "the text tower masks id 0"),
    "eos_token_id": Inert("a text ends with [SEP], which the tokenizer knows"),
    "tie_word_embeddings": Inert("of the language head, which the text tower does not have"),
}

OPEN_CLIP: Rules = {
    "model_cfg": Table(
        {
            "embed_dim": Read("length of an embedding", required=True),
            "vision_cfg": Table(_VISION_CFG, required=True),
            "text_cfg": Table(_TEXT_CFG, required=True),
            "custom_text": Inert("with hf_model_name the text tower always is a module of its own"),
            "quick_gelu": Inert("timm's and transformers' towers have activations of their own"),
            "init_logit_scale": Inert("the checkpoint holds the trained one"),
            "init_logit_bias": Only((), "the scores have no bias"),
            "nonscalar_logit_scale": Only((False,), "one factor for all scores"),
            "multimodal_cfg": Only((), "there is no third tower"),
            **dict.fromkeys(("cast_dtype", "output_dict"), Inert("how a Python implementation computes")),
        },
        required=True,
    ),
    "preprocess_cfg": Table(_PREPROCESS),
    "text_config": Table(BERT),
    "model_type": Read("the family"),
    "_nexus_edge_weights": Read("the kind of weights (checkpoints.folder)"),
}

FILES: dict[str, Rules] = {
    "config.json": OPEN_CLIP,  # its name in a bundle
    "special_tokens_map.json": SPECIAL_TOKENS_MAP,
    "tokenizer_config.json": {
        **TOKENIZER_CONFIG,
        **dict.fromkeys(("cls_token", "sep_token", "unk_token", "pad_token", "mask_token"), Read("the tokenizer")),
        **dict.fromkeys(("do_lower_case", "strip_accents", "tokenize_chinese_chars"), Read("the tokenizer")),
        "do_basic_tokenize": Only((True,), "texts are split at punctuation first"),
        "never_split": Only(([],), "texts are split at punctuation first"),
        "clean_up_tokenization_spaces": Inert("ids are never turned back into text"),
        **dict.fromkeys(("bos_token", "eos_token"), Inert("a BERT begins with cls_token and ends with sep_token")),
        "chat_template": Inert("a text tower has no conversation"),
    },
}
"""File -> its keys."""
