"""What an app must know of Phi-3-Vision beside its packages, and the sizes that they are made in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_edge.interfaces.target import ExportedModel
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.models.phi3_v.processing import Phi3VProcessor
from nexus_edge.models.phi3_v.prompt import ROLES, STOP_TOKENS
from nexus_edge.processing.hd_transform import CROP, TOKENS_PER_SIDE

PROMPT_TOKENS = 64
"""Tokens of a piece of a prompt: the Neural Engine is busy with it, and a rest is not filled up with much."""

MOST_CONTEXT = 4096
"""Tokens of the caches: a picture of 2,500 and an answer. At Phi-3-Vision's size they are 1.6 GB."""

CROPS = (1, 4)
"""Crops of one call; a picture has 2 to 17."""

_CACHE_BYTES = 2  # of one number, float16
_CHAT = {
    "turn": "<|{role}|>\n{text}<|end|>\n",
    "reply": "<|assistant|>\n",
    "picture": "<|image_{number}|>\n",
}
"""What `processing.prompt.apply_chat_template` writes for a turn, before the answer, and for a picture."""


def kept_context(model: Phi3V) -> int:
    """Tokens that the caches hold."""
    return min(MOST_CONTEXT, model.context_length)


def facts(exported: ExportedModel, processor: Path) -> Mapping[str, Any]:
    """See `Family`."""
    model, settings = exported.model, Phi3VProcessor.from_folder(processor)
    assert isinstance(model, Phi3V)
    params, tokenizer = model.params, settings.tokenizer
    ids = {token: tokenizer.token_id(token) for token in (*(f"<|{role}|>" for role in ROLES), *STOP_TOKENS)}
    switch = params.rope.original_max_position_embeddings
    return {
        "tokenizer": {
            "kind": "bpe",
            "file": "processor/tokenizer.json",
            "config": "processor/tokenizer_config.json",
            "bos_id": tokenizer.bos_id,
            "pad_id": None,
            "special": {token: id_ for token, id_ in ids.items() if id_ is not None},
        },
        "pictures": {
            "fit": "hd_crops",
            "size": CROP,
            "mean": list(settings.mean),
            "std": list(settings.std),
            "resampling": "bilinear",
            "most_crops": settings.num_crops,
            "tokens_per_side": TOKENS_PER_SIDE,
        },
        "generation": {
            "hidden_size": params.hidden_size,
            "vocab_size": params.vocab_size,
            "context": kept_context(model),
            "model_context": model.context_length,
            "prompt_tokens": PROMPT_TOKENS,
            "rope_limit": switch if switch < model.context_length else None,
            "crops_per_call": list(CROPS),
            "cache_bytes": _cache_bytes(model),
            "stop_ids": list(settings.stop_ids),
            "chat": _CHAT,
        },
        "zero_shot": None,
    }


def _cache_bytes(model: Phi3V) -> int:
    """Of keys and values of all layers."""
    decoder = model.params.decoder
    tokens = decoder.num_kv_heads * decoder.head_dim * kept_context(model)
    return 2 * model.params.num_hidden_layers * tokens * _CACHE_BYTES
