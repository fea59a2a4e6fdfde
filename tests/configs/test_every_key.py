"""No key is ignored in silence: change one, and something changes, or it is refused, or it is called inert."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nexus_edge.checkpoints import tiny_folder
from nexus_edge.configs.keys import Compared, Each, Inert, Only, Read, Rule, Rules, check_keys_of, paths_of
from nexus_edge.errors import CheckpointError
from nexus_edge.models.biomedclip import config_keys as biomedclip
from nexus_edge.models.biomedclip.params import BiomedClipParams
from nexus_edge.models.biomedclip.processing import BiomedClipProcessor
from nexus_edge.models.phi3_v import config_keys as phi3_v
from nexus_edge.models.phi3_v.params import Phi3VisionParams
from nexus_edge.models.phi3_v.processing import Phi3VProcessor
from nexus_edge.processing.agreement import check_agreement

Config = dict[str, Any]
Derive = Callable[[Path], Any]

# Values for keys that the embedded checkpoints leave out, and where doubling the value would not be another meaning.
PHI3 = {
    "head_dim": 64, "rope_scaling.rope_type": "yarn", "rope_scaling.type": "yarn", "rope_scaling.factor": 8.0,
    "rope_scaling.attention_factor": 1.5, "rope_scaling.short_mscale": 1.5, "rope_scaling.long_mscale": 1.5,
    "rope_scaling.rope_theta": 5e5, "rope_scaling.original_max_position_embeddings": 512,
    "hidden_act": "gelu", "img_processor.layer_idx": -1, "img_processor.vision_config.hidden_act": "gelu",
    "embd_layer.hd_transform_order": "glb_sub", "sliding_window": 100, "tie_word_embeddings": True, "eos_token_id": 7,
    "model_type": "phi3", "_nexus_edge_weights": "genuine", "max_position_embeddings": 8192, "num_key_value_heads": 2,
    "add_bos_token": False, "bos_token": "</s>", "eos_token": "<|system|>", "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5], "num_crops": 4,
}  # fmt: skip
BIOMEDCLIP = {
    "model_type": "clip", "_nexus_edge_weights": "genuine", "preprocess_cfg.mean": [0.5, 0.5, 0.5],
    "preprocess_cfg.std": [0.5, 0.5, 0.5], "preprocess_cfg.size": 96, "preprocess_cfg.interpolation": "bilinear",
    "model_cfg.vision_cfg.timm_kwargs.mlp_ratio": 2, "text_config.layer_norm_eps": 1e-6,
    "model_cfg.text_cfg.context_length": 32, "do_lower_case": False, "strip_accents": False,
    "tokenize_chinese_chars": False, "cls_token": "[SEP]", "sep_token": "[CLS]", "unk_token": "[nothing]",
    "pad_token": "[UNK]", "mask_token": "[nothing]",
    "model_cfg.embed_dim": 64, "model_cfg.vision_cfg.timm_kwargs.patch_size": 32,
}  # fmt: skip
# Read by name where no table is beside it: the embedded checkpoint has one, and the walk over names is in its params.
ELSEWHERE = {
    "text_config.eos_token_id", "model_cfg.vision_cfg.timm_model_name", "model_cfg.text_cfg.hf_model_name",
    "model_cfg.text_cfg.hf_tokenizer_name", "text_config._nexus_edge_weights", "text_config.model_type",
    "img_processor.vision_config._nexus_edge_weights", "img_processor.vision_config.model_type",
    "_nexus_edge_weights",
}  # fmt: skip


def phi3(folder: Path) -> Any:
    config = json.loads((folder / "config.json").read_text())
    params = Phi3VisionParams.from_json(config)
    check_keys_of(json.loads((folder / "preprocessor_config.json").read_text()), phi3_v.PREPROCESSOR, "preprocessor")
    for name in ("tokenizer_config.json", "generation_config.json"):
        if (folder / name).is_file():
            check_keys_of(json.loads((folder / name).read_text()), phi3_v.FILES[name], name)
    processor = Phi3VProcessor.from_folder(folder)
    configs = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    check_agreement(folder, configs, processor.token_id)
    return (
        params, params.rope.magnitudes, processor.stop_ids, processor.num_crops, processor.mean, processor.std,
        processor.tokenizer.bos_id, processor.template.source.text,
    )  # fmt: skip


def dual(folder: Path) -> Any:
    config = json.loads((folder / "open_clip_config.json").read_text())
    params = BiomedClipParams.from_json({**config, "model_type": config.get("model_type") or "biomedclip"})
    tokens = json.loads((folder / "tokenizer_config.json").read_text())
    check_keys_of(tokens, biomedclip.FILES["tokenizer_config.json"], "tokenizer_config.json")
    processor = BiomedClipProcessor.from_folder(folder)
    return (
        params, processor.image_size, processor.context_length, processor.mean, processor.std, processor.resample,
        processor.texts(["The Ångström, 細胞 unknown ☃", "Blood"]).tolist(), dict(processor.tokenizer.special),
    )  # fmt: skip


FAMILIES: dict[str, tuple[str, Derive, dict[str, Rules], Config]] = {
    "phi3_v": ("config.json", phi3, phi3_v.FILES, PHI3),
    "biomedclip": ("open_clip_config.json", dual, biomedclip.FILES, BIOMEDCLIP),
}


def keys() -> Iterator[tuple[str, str, str, Rule]]:
    """family, file, dotted path, rule"""
    for family, (main, _, files, _) in FAMILIES.items():
        for name, rules in files.items():
            for path, rule in paths_of(rules):
                if not path.startswith(("rope_parameters", "_golden", "model_cfg.vision_cfg._golden")):
                    yield family, main if name == "config.json" else name, path, rule


KEYS = list(keys())


def other(value: Any) -> Any:
    """Something else of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 2
    if isinstance(value, list):
        return [other(item) for item in value]
    return {"changed": 1} if isinstance(value, dict) else f"{value}-changed"


def changed(source: Path, folder: Path, file: str, path: str, value: Callable[[Any], Any]) -> None:
    """A copy of a checkpoint's small files, where `value` is applied to one key."""
    folder.mkdir(exist_ok=True)
    for item in source.iterdir():
        if item.suffix in (".json", ".txt"):
            (folder / item.name).write_bytes(item.read_bytes())
    if (folder / "vocab.txt").is_file() and file == "tokenizer_config.json":
        (folder / "tokenizer.json").unlink()  # else it does all that the options say
    config = json.loads((folder / file).read_text()) if (folder / file).is_file() else {}
    place = config
    *parents, last = path.split(".")
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value(place.get(last))
    (folder / file).write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("family", "file", "path"),
    [(family, file, path) for family, file, path, rule in KEYS if isinstance(rule, Read) and path not in ELSEWHERE],
)
def test_a_key_that_is_read_changes_something(family: str, file: str, path: str, tmp_path: Path) -> None:
    _, derive, _, values = FAMILIES[family]
    source = tiny_folder(family)
    changed(source, tmp_path / "same", file, path, copy.copy)
    changed(source, tmp_path / "other", file, path, lambda value: values.get(path, other(value)))
    before = derive(tmp_path / "same")
    try:
        after = derive(tmp_path / "other")
    except CheckpointError:
        return  # by name, as other tests see
    assert after != before


@pytest.mark.parametrize(
    ("family", "file", "path", "rule"),
    [key for key in KEYS if isinstance(key[3], Only) and key[1] in FAMILIES[key[0]][0]],
)
def test_a_value_that_is_not_computed_is_refused(family: str, file: str, path: str, rule: Only, tmp_path: Path) -> None:
    wrong = other(rule.allowed[0]) if rule.allowed and rule.allowed[0] not in (0, 0.0, [], {}, "") else "wrong"
    changed(tiny_folder(family), tmp_path, file, path, lambda value: wrong)
    with pytest.raises(CheckpointError) as caught:
        FAMILIES[family][1](tmp_path)
    assert path in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_inert_key_changes_nothing(family: str, tmp_path: Path) -> None:
    main, derive, _, _ = FAMILIES[family]
    changed(tiny_folder(family), tmp_path, main, "transformers_version", lambda value: None)
    before = derive(tmp_path)
    config = json.loads((tmp_path / main).read_text())
    for member, file, path, rule in KEYS:
        if member == family and file == main and isinstance(rule, Inert):
            place = config
            *parents, last = path.split(".")
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = "anything"
    (tmp_path / main).write_text(json.dumps(config))
    assert derive(tmp_path) == before


def test_every_reason_is_given() -> None:
    for _, _, path, rule in KEYS:
        text = {Read: "by", Inert: "because", Only: "because", Compared: "to"}.get(type(rule))
        assert isinstance(rule, Each) or (text is not None and len(getattr(rule, text)) > 3), path
