"""What a configuration means, against a table that shares no code and no reading with this project."""

import copy
import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from nexus_edge.checkpoints import published_numbers, tiny_folder
from nexus_edge.configs.rope import rope_limit
from nexus_edge.errors import CheckpointError
from nexus_edge.layers.long_rope import inverse_frequencies
from nexus_edge.models.biomedclip.params import BiomedClipParams
from nexus_edge.models.phi3_v.params import Phi3VisionParams

Config = dict[str, Any]
TABLES = sorted((Path(__file__).parent / "derived_values").glob("*.toml"))
CASES = [case for table in TABLES for case in tomllib.loads(table.read_text("utf-8"))["case"]]
FILES = {"phi3": "phi3_vision", "phi35": "phi3_5_vision", "biomedclip": "biomedclip"}
FLOAT32 = 1e-6  # relative: theta^x in float32, where the rounding of x (6e-8) counts ln(theta) = 9 to 13 times


@cache
def base(name: str) -> Config:
    if name == "tiny":
        return json.loads((tiny_folder() / "config.json").read_text())
    return json.loads(published_numbers(FILES[name]).read_text("utf-8"))["config"]


def put(config: Config, path: str, value: Any) -> None:
    """Set the key at a dotted path, or remove it for "-"."""
    *parents, last = path.split(".")
    for parent in parents:
        config = config.setdefault(parent, {})
    if value == "-":
        config.pop(last, None)
    else:
        config[last] = value


def changed(case: Config) -> Config:
    config = copy.deepcopy(base(case["base"]))
    if "move" in case:
        put(config, case["move"]["to"], config.pop(case["move"]["from"]))
    for path, value in case.get("set", {}).items():
        put(config, path, value)
    return config


def phi3_values(config: Config) -> Config:
    params = Phi3VisionParams.from_json(config)
    decoder, vision = params.decoder, params.vision
    short, long = params.rope.magnitudes
    return {
        "vocab": params.vocab_size, "hidden": params.hidden_size, "layers": params.num_hidden_layers,
        "heads": decoder.num_heads, "kv_heads": decoder.num_kv_heads, "head_dim": decoder.head_dim,
        "context": params.max_position_embeddings, "window": decoder.window, "limit": rope_limit(config) or 0,
        "short_magnitude": short, "long_magnitude": long, "eps": decoder.rms_norm_eps, "tied": params.tied,
        "order": "glb_sub" if params.global_first else "sub_glb", "act": decoder.hidden_act,
        "tower_layers_run": vision.depth, "tower_act": vision.hidden_act,
    }  # fmt: skip


def biomedclip_values(config: Config) -> Config:
    params = BiomedClipParams.from_json(config)
    vision, text = params.vision, params.text
    return {
        "embed": params.embed_dim, "context": params.context_length, "width": vision.hidden_size,
        "mlp": vision.intermediate_size, "depth": vision.num_hidden_layers, "heads": vision.num_attention_heads,
        "image": vision.image_size, "patch": vision.patch_size, "vocab": text.vocab_size,
        "bert_width": text.hidden_size, "bert_layers": text.num_hidden_layers, "bert_eps": text.layer_norm_eps,
        "positions": text.max_position_embeddings,
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_configuration_means_what_the_original_makes_of_it(case: Config) -> None:
    config = changed(case)
    values = biomedclip_values if case["base"] == "biomedclip" else phi3_values
    if "refused" in case:
        with pytest.raises(CheckpointError) as caught:
            values(config)
        assert case["refused"] in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    found = values(config)
    assert {name: found[name] for name in case.get("expect", {})} == {
        name: pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
        for name, value in case.get("expect", {}).items()
    }
    for name in ("short_inv_freq", "long_inv_freq"):
        if name in case:
            frequencies = inverse_frequencies(Phi3VisionParams.from_json(config).rope)[name]
            for place, value in case[name].items():
                assert float(frequencies[int(place)]) == pytest.approx(value, rel=FLOAT32), (name, place)


def test_the_table_is_as_large_as_it_says() -> None:
    assert len(CASES) >= 80
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert all(case["source"] and ("refused" in case or "expect" in case or "short_inv_freq" in case) for case in CASES)
