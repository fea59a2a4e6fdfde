"""What a key means that a config.json leaves out: transformers writes only what differs from its classes' defaults.

Source: `LlavaNextConfig`, `LlamaConfig`, `MistralConfig` and `CLIPVisionConfig` of transformers 4.57 and 5.23, which
agree on these.
"""

from collections.abc import Mapping
from typing import Any

from nexus_edge.configs.values import choice, count, table

PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
IMAGE_TOKEN, FEATURE_LAYER = 32000, -2

LLAMA: Mapping[str, Any] = {
    "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
    "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 2048, "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
}  # fmt: skip
MISTRAL: Mapping[str, Any] = {
    **LLAMA, "model_type": "mistral", "intermediate_size": 14336, "num_key_value_heads": 8,
    "max_position_embeddings": 131072, "sliding_window": 4096,
}  # fmt: skip
DECODERS = {"llama": LLAMA, "mistral": MISTRAL}
"""model_type of the decoder -> its defaults. Vicuna and Yi are of type llama."""

CLIP: Mapping[str, Any] = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 224, "patch_size": 32,
}  # fmt: skip
TOWER: Mapping[str, Any] = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "image_size": 336, "patch_size": 14,
}  # fmt: skip
"""Of a file without a `vision_config`: ViT-L/14 at 336 pixels."""


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The decoder's object with its absent keys; raises ValueError for a decoder of another type.

    A null is a value of its own for two keys: no sliding window, and as many key and value heads as query heads.
    """
    text = table(config, "text_config")
    known = DECODERS[choice(text, "model_type", DECODERS, "llama")]
    nullable = ("sliding_window", "num_key_value_heads")
    return {**known, **{key: value for key, value in text.items() if value is not None or key in nullable}}


def context_length(config: Mapping[str, Any]) -> int:
    """Tokens of the decoder's longest sequence; raises ValueError."""
    return count(text_config(config), "max_position_embeddings")


def vision_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The tower's object with its absent keys."""
    vision = table(config, "vision_config")
    known = CLIP if vision else TOWER
    return {**known, **{key: value for key, value in vision.items() if value is not None}}


def image_token(config: Mapping[str, Any]) -> int:
    """The id that stands for an image feature, under either of its names; raises ValueError."""
    given = {key: config[key] for key in ("image_token_index", "image_token_id") if config.get(key) is not None}
    for key, value in given.items():
        if type(value) is not int or value < 0:
            raise ValueError(f"{key} is {value!r:.40}, expected a token id")
    if len(set(given.values())) > 1:
        raise ValueError(f"{' and '.join(f'{key} is {value}' for key, value in given.items())}; remove the wrong one")
    token: int = next(iter(given.values()), IMAGE_TOKEN)
    return token
