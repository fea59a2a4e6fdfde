"""Keys that transformers writes into the files of every model, from 4.30 to 5.23.

Source: `PretrainedConfig`, `GenerationConfig` and `PreTrainedTokenizerBase` of these versions.
"""

from nexus_edge.configs.keys import Compared, Each, Inert, Only, Read, Rules

_ORIGIN = Inert("says where the file or the code comes from")
_TRAINING = Inert("only training reads it")
_OUTPUTS = Inert("says what a Python call returns, not what is computed")
_SAMPLING = Inert("a default for drawing tokens; here each call says how it samples, and the default draws none")
_LENGTH = Inert("a default length of answers; here each call says it")
_BEAMS = Inert("belongs to beam search, which is refused where num_beams asks for it")
_SPEED = Inert("how a Python implementation computes, not what")
_HEAD = Inert("belongs to classification heads, which these models do not have")
_DTYPE = Inert("the type of the stored weights, which the weights file itself says")
_STORED = "it names the type of the stored weights; correct or remove it"
DTYPES = (*("float32", "float16", "bfloat16", "float64", "auto"), *("torch.float32", "torch.float16", "torch.bfloat16"))
_SPECIAL = Inert("an id of a special token that no prompt here needs; the tokenizer's files say the ids")
_ENCODER = "this is not an encoder-decoder model"
_CONSTRAINT = "it constrains which tokens an answer may have, which the runtime does not do"

QUANTIZED = (
    "the weights were quantized by another tool: export from the full-precision checkpoint, or dequantize and save it "
    "first (transformers: model.dequantize(), then save_pretrained)"
)

# Defaults of `generate` that older versions wrote into config.json, and that generation_config.json holds today.
GENERATION: Rules = {
    **dict.fromkeys(("do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "top_h"), _SAMPLING),
    **dict.fromkeys(("epsilon_cutoff", "eta_cutoff"), _SAMPLING),
    **dict.fromkeys(("max_length", "max_new_tokens", "max_time"), _LENGTH),
    **dict.fromkeys(("early_stopping", "length_penalty", "num_return_sequences"), _BEAMS),
    **dict.fromkeys(("output_scores", "output_logits", "return_dict_in_generate"), _OUTPUTS),
    **dict.fromkeys(("remove_invalid_values", "renormalize_logits"), Inert("guards against NaN in Python's sampling")),
    "use_cache": _SPEED,
    "cache_implementation": _SPEED,
    "cache_config": _SPEED,
    "return_legacy_cache": _SPEED,
    "prefill_chunk_size": _SPEED,
    "disable_compile": _SPEED,
    "compile_config": _SPEED,
    "low_memory": _SPEED,
    "prompt_lookup_num_tokens": _SPEED,
    "max_matching_ngram_size": _SPEED,
    "num_assistant_tokens": _SPEED,
    "num_assistant_tokens_schedule": _SPEED,
    "assistant_confidence_threshold": _SPEED,
    "assistant_early_exit": _SPEED,
    "assistant_lookbehind": _SPEED,
    "target_lookbehind": _SPEED,
    "is_assistant": _SPEED,
    "min_length": Only((0,), _CONSTRAINT),
    "min_new_tokens": Only((0,), _CONSTRAINT),
    "num_beams": Only((1,), "beam search gives other answers than the runtime's"),
    "num_beam_groups": Only((1,), "beam search gives other answers than the runtime's"),
    "diversity_penalty": Only((0.0,), "beam search gives other answers than the runtime's"),
    "penalty_alpha": Only((0.0,), "contrastive search gives other answers than the runtime's"),
    "dola_layers": Only((), "decoding by contrasting layers gives other answers than the runtime's"),
    "repetition_penalty": Only((1.0,), "it changes which token is the likeliest"),
    "encoder_repetition_penalty": Only((1.0,), _ENCODER),
    "no_repeat_ngram_size": Only((0,), _CONSTRAINT),
    "encoder_no_repeat_ngram_size": Only((0,), _ENCODER),
    "bad_words_ids": Only(([],), _CONSTRAINT),
    "force_words_ids": Only(([],), _CONSTRAINT),
    "constraints": Only(([],), _CONSTRAINT),
    "suppress_tokens": Only(([],), _CONSTRAINT),
    "begin_suppress_tokens": Only(([],), _CONSTRAINT),
    "sequence_bias": Only(([], {}), _CONSTRAINT),
    "forced_bos_token_id": Only((), _CONSTRAINT),
    "forced_eos_token_id": Only((), _CONSTRAINT),
    "forced_decoder_ids": Only(([],), _CONSTRAINT),
    "exponential_decay_length_penalty": Only((), _CONSTRAINT),
    "guidance_scale": Only((1, 1.0), "guidance needs a second run of the model per token"),
    "watermarking_config": Only((), _CONSTRAINT),
    "stop_strings": Only(([],), "give them to each call (--stop)"),
    "token_healing": Only((False,), _CONSTRAINT),
}

# config.json of every model.
MODEL: Rules = {
    **GENERATION,
    **dict.fromkeys(("architectures", "auto_map", "_name_or_path", "transformers_version", "_commit_hash"), _ORIGIN),
    **dict.fromkeys(("name_or_path", "unsloth_version", "unsloth_fixed", "tokenizer_class"), _ORIGIN),
    **dict.fromkeys(("attention_dropout", "attention_probs_dropout_prob", "hidden_dropout_prob", "dropout"), _TRAINING),
    **dict.fromkeys(("embd_pdrop", "resid_pdrop", "initializer_range", "initializer_factor"), _TRAINING),
    **dict.fromkeys(("gradient_checkpointing", "tf_legacy_loss", "finetuning_task", "freeze_img_processor"), _TRAINING),
    **dict.fromkeys(("return_dict", "output_hidden_states", "output_attentions", "torchscript"), _OUTPUTS),
    **dict.fromkeys(("_attn_implementation", "_attn_implementation_internal", "attn_implementation"), _SPEED),
    **dict.fromkeys(("_attn_implementation_autoset", "_experts_implementation", "pretraining_tp"), _SPEED),
    **dict.fromkeys(("use_flash_attention_2", "_flash_attn_2_enabled", "chunk_size_feed_forward"), _SPEED),
    "torch_dtype": Only(DTYPES, _STORED),
    "dtype": Only(DTYPES, _STORED, same_as="torch_dtype"),
    "use_bfloat16": _DTYPE,
    **dict.fromkeys(("id2label", "label2id", "num_labels", "problem_type", "classifier_dropout"), _HEAD),
    **dict.fromkeys(("prefix", "task_specific_params", "keys_to_ignore_at_inference"), _HEAD),
    **dict.fromkeys(("bos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id"), _SPECIAL),
    "_nexus_edge_weights": Read("the kind of weights (checkpoints.folder)"),
    "model_type": Read("the family"),
    "eos_token_id": Read("the processor's stop ids"),
    "pruned_heads": Only(({}, []), "pruned attention heads have other shapes: save the model without pruning"),
    "is_encoder_decoder": Only((False,), _ENCODER),
    "is_decoder": Only((False,), "the attention of this model has a fixed direction"),
    "add_cross_attention": Only((False,), _ENCODER),
    "cross_attention_hidden_size": Only((), _ENCODER),
    "tie_encoder_decoder": Only((False,), _ENCODER),
    "quantization_config": Only((), QUANTIZED),
    "compression_config": Only((), QUANTIZED),
}

GENERATION_CONFIG: Rules = {
    **GENERATION,
    **dict.fromkeys(("_from_model_config", "transformers_version", "_commit_hash", "_name_or_path"), _ORIGIN),
    **dict.fromkeys(("output_attentions", "output_hidden_states", "trust_remote_code"), _OUTPUTS),
    **dict.fromkeys(("bos_token_id", "pad_token_id", "decoder_start_token_id"), _SPECIAL),
    "eos_token_id": Read("the processor's stop ids"),
}

# A special token is a text, or an object with flags: how the tokenizer's own file treats it counts.
FLAGS = ("lstrip", "rstrip", "normalized", "single_word", "special")
_FLAGS = Inert("tokenizer.json has the same flags and is what tokenizes")
TOKEN: Rules = {
    "content": Read("the token's text"),
    **dict.fromkeys((*FLAGS, "__type", "id"), _FLAGS),
}
_TOKENIZES = Inert("tokenizer.json, which tokenizes, has it already")

SPECIAL_TOKENS_MAP: Rules = {
    **dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), Compared("tokenizer_config.json")),
    **dict.fromkeys(("sep_token", "cls_token", "mask_token"), Compared("tokenizer_config.json")),
    **dict.fromkeys(("additional_special_tokens", "extra_special_tokens", "image_token"), _TOKENIZES),
}

TEMPLATE = Read("prompts", instead="the family's chat template")

# tokenizer_config.json of every tokenizer.
TOKENIZER_CONFIG: Rules = {
    **dict.fromkeys(("tokenizer_class", "processor_class", "auto_map", "name_or_path", "backend"), _ORIGIN),
    **dict.fromkeys(("special_tokens_map_file", "tokenizer_file", "is_local", "local_files_only"), _ORIGIN),
    **dict.fromkeys(("trust_remote_code", "use_fast", "vocab_file", "fix_mistral_regex"), _ORIGIN),
    **dict.fromkeys(("padding_side", "truncation_side", "pad_to_multiple_of"), Inert("batches are not padded here")),
    **dict.fromkeys(("additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"), _TOKENIZES),
    **dict.fromkeys(("legacy", "sp_model_kwargs", "use_default_system_prompt", "from_slow"), _TOKENIZES),
    **dict.fromkeys(("max_length", "stride", "truncation_strategy", "padding"), Inert("limits of a training run")),
    "model_max_length": Inert("the model's own configuration says how many tokens it takes"),
    "model_input_names": Inert("which arrays a Python call returns"),
    "pad_token": Inert("batches are not padded here"),
    "unk_token": _TOKENIZES,
    "added_tokens_decoder": Each({**TOKEN, **dict.fromkeys(("content", *FLAGS), Compared("tokenizer.json"))}),
    "split_special_tokens": Only((False,), "it would take special tokens in a prompt apart"),
    "response_schema": Inert("for parsing answers in Python"),
}
