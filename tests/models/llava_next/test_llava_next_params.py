"""Numbers of config.json: the published shapes, absent keys as transformers' classes mean them, and refusals."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nexus_edge.checkpoints.base import TensorInfo
from nexus_edge.checkpoints.keys import check_keys
from nexus_edge.errors import CheckpointError, RecipeError
from nexus_edge.families import family_named
from nexus_edge.models.llava_next.model import build, weight_rules
from nexus_edge.models.llava_next.params import LlavaNextParams

TINY = Path(__file__).parents[2] / "golden" / "llava_next_tiny"
Config = dict[str, Any]
CLIP = {
    "hidden_size": 1024, "image_size": 336, "intermediate_size": 4096, "model_type": "clip_vision_model",
    "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768, "vocab_size": 32000,
}  # fmt: skip
MISTRAL = {
    "model_type": "mistral", "intermediate_size": 14336, "max_position_embeddings": 32768, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "sliding_window": None, "vocab_size": 32064,
}  # fmt: skip
VICUNA = {
    "model_type": "llama", "max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "vocab_size": 32064,
    "pad_token_id": 0,
}  # fmt: skip
YI = {
    "model_type": "llama", "hidden_size": 7168, "intermediate_size": 20480, "num_hidden_layers": 60,
    "num_attention_heads": 56, "num_key_value_heads": 8, "max_position_embeddings": 4096, "rms_norm_eps": 1e-05,
    "rope_theta": 5000000.0, "vocab_size": 64064,
}  # fmt: skip


def published(text: Config, **top: Any) -> Config:
    return {"model_type": "llava_next", "text_config": text, "vision_config": CLIP, **top}


def tiny() -> Config:
    return json.loads((TINY / "config.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # hidden, MLP, layers, heads, key and value heads, context, base of RoPE, vocabulary, epsilon of the cards
        (published(MISTRAL), (4096, 14336, 32, 32, 8, 32768, 1e6, 32064, 1e-5)),
        (published(VICUNA), (4096, 11008, 32, 32, 32, 4096, 1e4, 32064, 1e-5)),
        (published(YI, image_token_index=64000), (7168, 20480, 60, 56, 8, 4096, 5e6, 64064, 1e-5)),
        # MistralConfig() and LlamaConfig() of transformers 4.57
        (
            published({"model_type": "mistral", "sliding_window": None}, image_token_index=31999),
            (4096, 14336, 32, 32, 8, 131072, 1e4, 32000, 1e-6),
        ),
        ({"model_type": "llava_next", "image_token_index": 31999}, (4096, 11008, 32, 32, 32, 2048, 1e4, 32000, 1e-6)),
    ],
    ids=["mistral", "vicuna", "yi", "mistral's defaults", "nothing"],
)
def test_decoders(config: Config, expected: tuple[float, ...]) -> None:
    params = LlavaNextParams.from_json(config)
    text, decoder = params.text, params.text.decoder
    assert expected == (
        decoder.hidden_size, decoder.intermediate_size, text.num_hidden_layers, decoder.num_heads,
        decoder.num_kv_heads, text.max_position_embeddings, text.rope_theta, text.vocab_size,
        decoder.rms_norm_eps,
    )  # fmt: skip
    assert decoder.window == -1 and not decoder.fused and not text.tied
    assert (params.vision.hidden_size, params.vision.depth, params.anyres.side, params.anyres.patches) == (
        1024, 23, 336, 24
    )  # fmt: skip


def test_an_absent_window_is_mistrals_own() -> None:
    """MistralConfig's default is 4096, the token itself counted: it sees 4,095 before itself."""
    config = published({key: value for key, value in MISTRAL.items() if key != "sliding_window"})
    assert LlavaNextParams.from_json(config).text.decoder.window == 4095
    assert family_named("llava_next").has_window(config)
    assert not family_named("llava_next").has_window(published(MISTRAL))


def test_files_of_transformers_5_mean_the_same() -> None:
    config = tiny()
    text = config["text_config"]
    text["rope_parameters"] = {"rope_theta": text.pop("rope_theta"), "rope_type": "default"}
    text |= {"head_dim": 16, "dtype": text.pop("torch_dtype"), "tie_word_embeddings": False, "use_cache": True}
    config |= {"multimodal_projector_bias": True, "image_token_id": config.pop("image_token_index")}
    assert LlavaNextParams.from_json(config) == LlavaNextParams.from_json(tiny())


def changed(path: str, value: Any) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            config = config[parent]
        config[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("vision_feature_select_strategy", "full"), "vision_feature_select_strategy is 'full'"),
        (changed("vision_feature_layer", [-2, -3]), r"vision_feature_layer is \[-2, -3\]"),
        (changed("vision_feature_layer", 4), "vision_feature_layer is 4, and the tower has 3 layers"),
        (changed("image_grid_pinpoints", [[336, 500]]), "500 is not a multiple of vision_config.image_size 336"),
        (changed("image_grid_pinpoints", []), "image_grid_pinpoints is"),
        (changed("image_grid_pinpoints", [[336, 336, 336]]), "image_grid_pinpoints is"),
        (changed("image_token_index", 600), "image_token_index is 600, and vocab_size 544"),
        (changed("image_token_id", 3), "image_token_index is 504 and image_token_id is 3"),
        (changed("tie_word_embeddings", True), "tie_word_embeddings is True, and text_config"),
        (changed("text_config.model_type", "qwen2"), "model_type is 'qwen2', known are llama, mistral"),
        (changed("text_config.head_dim", 32), "head_dim is 32"),
        (changed("text_config.rope_scaling", {"type": "linear", "factor": 2.0}), "rope_scaling.type is 'linear'"),
        (changed("text_config.attention_bias", True), "text_config.attention_bias is True"),
        (changed("text_config.new_key", 1), "does not know the key 'text_config.new_key'"),
        (changed("vision_config.model_type", "siglip"), "vision_config.model_type is 'siglip'"),
        (changed("use_image_newline_parameter", False), "use_image_newline_parameter is False"),
    ],
)
def test_what_is_not_computed_is_refused(change: Callable[[Config], None], message: str) -> None:
    config = copy.deepcopy(tiny())
    change(config)
    with pytest.raises(CheckpointError, match=message) as caught:
        LlavaNextParams.from_json(config)
    assert "\n" not in str(caught.value)


# Module names of transformers 4.52 to 4.57, and of 5, for the names that the files have.
NEW = {
    "language_model.model.": "model.language_model.", "language_model.lm_head.": "lm_head.",
    "vision_tower.": "model.vision_tower.", "multi_modal_projector.": "model.multi_modal_projector.",
    "image_newline": "model.image_newline",
}  # fmt: skip
FIVE = {"vision_tower.vision_model.": "model.vision_tower.", **NEW}
MADE_IN_FIVE = {"vision_tower.vision_model.": "vision_tower."}


@pytest.mark.parametrize("names", [{}, NEW, FIVE, MADE_IN_FIVE], ids=["files", "4.52", "5", "files of 5"])
def test_every_layout_of_the_weights_fits(names: dict[str, str]) -> None:
    with torch.device("meta"):
        model = build(tiny())
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    moved = {name: name for name in shapes}
    for name in shapes:
        prefix = next((prefix for prefix in names if name.startswith(prefix)), "")
        moved[name] = names.get(prefix, "") + name.removeprefix(prefix)
    found = {moved[name]: TensorInfo("float16", shape) for name, shape in shapes.items()}
    assert check_keys(found, shapes, weight_rules(tiny())) == moved
    found["model.vision_tower.text_model.weight"] = TensorInfo("float16", (1,))
    with pytest.raises(CheckpointError, match=r"1 unexpected: model\.vision_tower\.text_model\.weight"):
        check_keys(found, shapes, weight_rules(tiny()))


def test_a_tied_head_is_read_once() -> None:
    config = tiny()
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True
    assert LlavaNextParams.from_json(config).text.tied
    assert weight_rules(config).tie == {"language_model.lm_head.weight": "language_model.model.embed_tokens.weight"}


def test_what_is_not_there_yet_says_so() -> None:
    with pytest.raises(RecipeError, match=r"LLaVA-NeXT has no programs with fixed shapes yet"):
        family_named("llava_next").static_split()
