"""config.json is where every number of the model comes from."""

import copy
from collections.abc import Callable
from typing import Any

import golden_phi3
import pytest

from nexus_edge.errors import CheckpointError
from nexus_edge.models.phi3_v.params import Phi3VisionParams, published_config

Config = dict[str, Any]


@pytest.fixture
def config() -> Config:
    return copy.deepcopy(published_config("phi3_vision"))


def test_published_numbers() -> None:
    for params in (Phi3VisionParams.phi3_vision(), Phi3VisionParams.phi3_5_vision()):
        decoder, vision = params.decoder, params.vision
        assert (params.vocab_size, params.hidden_size, params.num_hidden_layers) == (32064, 3072, 32)
        assert (decoder.intermediate_size, decoder.num_heads, decoder.num_kv_heads) == (8192, 32, 32)
        assert decoder.rms_norm_eps == 1e-5
        assert params.max_position_embeddings == 131072
        assert (vision.hidden_size, vision.intermediate_size) == (1024, 4096)
        assert (vision.num_hidden_layers, vision.num_attention_heads) == (24, 16)
        assert (vision.image_size, vision.patch_size, vision.layer_norm_eps) == (336, 14, 1e-5)


def test_a_window_as_long_as_the_context_is_none(config: Config) -> None:
    for window, expected in ((131072, -1), (262144, -1), (None, -1), (2047, 2047)):
        config["sliding_window"] = window
        assert Phi3VisionParams.from_json(config).decoder.window == expected


@pytest.mark.parametrize("place", ["img_processor", "golden"])
def test_a_small_tower_is_described_in_the_config(place: str, config: Config) -> None:
    small = {"hidden_size": 64, "intermediate_size": 144, "num_hidden_layers": 3, "num_attention_heads": 4}
    if place == "golden":
        config["_golden_clip_vision_config"] = small
    else:
        config["img_processor"]["vision_config"] = small
    config["img_processor"]["image_dim_out"] = 64
    vision = Phi3VisionParams.from_json(config).vision
    assert {name: getattr(vision, name) for name in small} == small
    assert (vision.image_size, vision.patch_size) == (336, 14)


def test_what_may_be_absent(config: Config) -> None:
    del config["img_processor"], config["sliding_window"], config["num_key_value_heads"]
    assert Phi3VisionParams.from_json(config) == Phi3VisionParams.phi3_vision()
    del config["rope_scaling"]
    rope = Phi3VisionParams.from_json(config).rope
    assert set(rope.short_factor + rope.long_factor) == {1.0}
    assert rope.magnitudes[0] == 1.0


def test_the_names_of_longrope(config: Config) -> None:
    for name, magnitude in (("su", 1.1902380714238083), ("longrope", 1.1902380714238083), ("yarn", 1.3465735902799727)):
        config["rope_scaling"]["type"] = name
        assert Phi3VisionParams.from_json(config).rope.magnitudes[0] == pytest.approx(magnitude, rel=1e-15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.pop("hidden_size"), "missing key 'hidden_size'"),
        (lambda config: config.update(num_hidden_layers="num_hidden_layers is 'many'"), "num_hidden_layers is 'many'"),
        (lambda config: config.update(num_attention_heads=7), "3072 is not a multiple of num_attention_heads 7"),
        (lambda config: config.update(num_hidden_layers=10**9), r"num_hidden_layers is 1000000000, more than any"),
        (lambda config: config.update(vocab_size=10**12), r"vocab_size is 1000000000000, more than any model has"),
        (lambda config: config.update(num_attention_heads=0), "num_attention_heads is 0, expected a whole number"),
        (lambda config: config.update(model_type="phi3"), "model_type is 'phi3', expected 'phi3_v'"),
        (lambda config: config["rope_scaling"].update(type="linear"), "'linear', known are su, longrope, yarn"),
        (lambda config: config["rope_scaling"].update(type=["su"]), "known are su, longrope, yarn"),
        (lambda config: config["rope_scaling"].update(type=None), "missing key 'rope_scaling.rope_type'"),
        (lambda config: config["rope_scaling"].pop("type"), "missing key 'rope_scaling.rope_type'"),
        (lambda config: config["rope_scaling"].pop("long_factor"), "missing key 'rope_scaling.long_factor'"),
        (
            lambda config: config["rope_scaling"]["short_factor"].pop(),
            "short_factor has 47 numbers, head_dim / 2 is 48",
        ),
        (lambda config: config.update(rope_scaling=[1]), r"rope_scaling is \[1\], expected an object"),
        (lambda config: config.update(img_processor="clip"), "img_processor is 'clip', expected"),
        (lambda config: config.update(img_processor={"vision_config": 3}), "vision_config is 3"),
        (lambda config: config.update(num_key_value_heads=5), "32 is not a multiple of num_key_value_heads 5"),
        (lambda config: config.update(hidden_size=3072.5), "hidden_size is 3072.5"),
        (lambda config: config.update(sliding_window=0), "sliding_window is 0"),
        (lambda config: config.update(num_hidden_layers=0), "num_hidden_layers"),
        (lambda config: config.update(vocab_size=-1), "vocab_size"),
        (lambda config: config["img_processor"].update(vision_config={"patch_size": 16}), "patches of 14"),
        (lambda config: config["img_processor"].update(vision_config={"patch_size": 0}), "patch_size"),
        (
            lambda config: config["img_processor"].update(vision_config={"num_attention_heads": 5}),
            "num_attention_heads",
        ),
    ],
)
def test_impossible_numbers_are_named(change: Callable[[Config], object], message: str, config: Config) -> None:
    change(config)
    with pytest.raises(CheckpointError, match=message) as caught:
        Phi3VisionParams.from_json(config)
    assert "\n" not in str(caught.value)


def test_the_golden_configs_are_read(config: Config) -> None:
    params = Phi3VisionParams.from_json(golden_phi3.config("config_sliding20.json"))
    assert params.decoder.window == 20
    assert params.vision.num_hidden_layers == 3
