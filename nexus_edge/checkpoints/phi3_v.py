"""The tensors of a Phi-3-Vision checkpoint, computed from its config.json (no torch needed).

Names are those of the published checkpoint, including the misspelt `pre_layrnorm`.
"""

from collections.abc import Mapping
from typing import Any

from nexus_edge.checkpoints.keys import KeyRules
from nexus_edge.errors import CheckpointError

# The original module keeps a reference to the token embedding inside the vision module, so a fine-tune's state_dict has
# it twice; some re-saved checkpoints carry CLIP's position index buffer.
RULES = KeyRules(
    aliases={"model.vision_embed_tokens.wte.weight": "model.embed_tokens.weight"}, ignorable=("*.position_ids",)
)
# The published config.json does not describe its CLIP tower: it is ViT-L/14-336.
CLIP_VIT_L_14_336 = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "image_size": 336,
    "patch_size": 14,
}
Shapes = dict[str, tuple[int, ...]]


def expected_shapes(config: Mapping[str, Any]) -> Shapes:
    """Every key of the checkpoint with its shape, in the order in which the tensors are used.

    Raises:
        CheckpointError: naming the field that config.json lacks.
    """
    try:
        clip = CLIP_VIT_L_14_336 | dict(_clip_overrides(config))
        hidden = config["hidden_size"]
        return {
            **_clip(clip),
            **_projector(hidden, 4 * clip["hidden_size"]),  # a 2 x 2 block of patches becomes one token
            "model.embed_tokens.weight": (config["vocab_size"], hidden),
            **_decoder(config),
            "model.norm.weight": (hidden,),
            "lm_head.weight": (config["vocab_size"], hidden),
        }
    except KeyError as error:
        raise CheckpointError(f"config.json lacks {error}, which Phi-3-Vision needs") from error


def _clip_overrides(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Small checkpoints describe their tower; the goldens do so at the top level."""
    vision: Mapping[str, Any] = config.get("img_processor", {}).get("vision_config", {})
    golden: Mapping[str, Any] = config.get("_golden_clip_vision_config", {})
    return vision or golden


def _linear(name: str, rows: int, columns: int) -> Shapes:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _layer_norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def _clip(clip: Mapping[str, int]) -> Shapes:
    prefix = "model.vision_embed_tokens.img_processor.vision_model"
    hidden, inner, patch = clip["hidden_size"], clip["intermediate_size"], clip["patch_size"]
    positions = (clip["image_size"] // patch) ** 2 + 1
    shapes: Shapes = {
        f"{prefix}.embeddings.class_embedding": (hidden,),
        f"{prefix}.embeddings.patch_embedding.weight": (hidden, 3, patch, patch),
        f"{prefix}.embeddings.position_embedding.weight": (positions, hidden),
        **_layer_norm(f"{prefix}.pre_layrnorm", hidden),
    }
    for layer in range(clip["num_hidden_layers"]):
        block = f"{prefix}.encoder.layers.{layer}"
        shapes |= _layer_norm(f"{block}.layer_norm1", hidden)
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _linear(f"{block}.self_attn.{projection}", hidden, hidden)
        shapes |= _layer_norm(f"{block}.layer_norm2", hidden)
        shapes |= _linear(f"{block}.mlp.fc1", inner, hidden) | _linear(f"{block}.mlp.fc2", hidden, inner)
    return shapes | _layer_norm(f"{prefix}.post_layernorm", hidden)


def _projector(hidden: int, merged: int) -> Shapes:
    prefix = "model.vision_embed_tokens"
    return {
        f"{prefix}.sub_GN": (1, 1, 1, merged),
        f"{prefix}.glb_GN": (1, 1, merged),
        **_linear(f"{prefix}.img_projection.0", hidden, merged),
        **_linear(f"{prefix}.img_projection.2", hidden, hidden),
    }


def _decoder(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = hidden // config["num_attention_heads"]
    qkv = hidden + 2 * head * config["num_key_value_heads"]
    shapes: Shapes = {}
    for layer in range(config["num_hidden_layers"]):
        block = f"model.layers.{layer}"
        shapes[f"{block}.input_layernorm.weight"] = (hidden,)
        shapes[f"{block}.self_attn.qkv_proj.weight"] = (qkv, hidden)
        shapes[f"{block}.self_attn.o_proj.weight"] = (hidden, hidden)
        shapes[f"{block}.post_attention_layernorm.weight"] = (hidden,)
        shapes[f"{block}.mlp.gate_up_proj.weight"] = (2 * inner, hidden)
        shapes[f"{block}.mlp.down_proj.weight"] = (hidden, inner)
    return shapes
