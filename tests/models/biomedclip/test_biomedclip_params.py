"""The numbers of a BiomedCLIP out of open_clip's configuration, and every one that this model cannot have."""

import copy
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
import torch

from nexus_edge.errors import CheckpointError
from nexus_edge.layers.params import BertParams, VitParams
from nexus_edge.models.biomedclip.model import BiomedClip
from nexus_edge.models.biomedclip.params import BiomedClipParams

Config = dict[str, Any]


@pytest.fixture
def config() -> Config:
    """The published one."""
    data = json.loads((files("nexus_edge") / "models/biomedclip/published/biomedclip.json").read_text())
    return copy.deepcopy(data["config"])


def test_published_numbers(config: Config) -> None:
    params = BiomedClipParams.from_json(config)
    assert params == BiomedClipParams(
        VitParams(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                  image_size=224, patch_size=16, layer_norm_eps=1e-6),
        BertParams(vocab_size=30522, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                   num_attention_heads=12, max_position_embeddings=512, type_vocab_size=2, layer_norm_eps=1e-12),
        embed_dim=512,
        context_length=256,
    )  # fmt: skip
    assert BiomedClipParams.from_json({**config, "text_config": {"model_type": "bert"}}) == params  # all are defaults


def test_published_parameters_and_shapes(config: Config) -> None:
    """Counted by tower in the facts about the model: trunk, head, BERT, projection, and the one scalar."""
    with torch.device("meta"):
        model = BiomedClip(BiomedClipParams.from_json(config))
    parts = (model.visual.trunk, model.visual.head, model.text.transformer, model.text.proj, model)
    assert [sum(value.numel() for value in part.parameters()) for part in parts] == [
        85_798_656, 393_216, 108_891_648, 819_200, 195_902_721
    ]  # fmt: skip
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    for key, shape in {
        "logit_scale": (),
        "visual.trunk.cls_token": (1, 1, 768),
        "visual.trunk.pos_embed": (1, 197, 768),
        "visual.trunk.patch_embed.proj.weight": (768, 3, 16, 16),
        "visual.trunk.blocks.11.attn.qkv.weight": (2304, 768),
        "visual.trunk.blocks.0.attn.qkv.bias": (2304,),
        "visual.trunk.blocks.3.mlp.fc1.weight": (3072, 768),
        "visual.trunk.norm.bias": (768,),
        "visual.head.proj.weight": (512, 768),
        "text.transformer.embeddings.word_embeddings.weight": (30522, 768),
        "text.transformer.embeddings.position_embeddings.weight": (512, 768),
        "text.transformer.embeddings.token_type_embeddings.weight": (2, 768),
        "text.transformer.embeddings.LayerNorm.weight": (768,),
        "text.transformer.encoder.layer.11.attention.self.query.weight": (768, 768),
        "text.transformer.encoder.layer.0.attention.output.dense.bias": (768,),
        "text.transformer.encoder.layer.0.intermediate.dense.weight": (3072, 768),
        "text.transformer.encoder.layer.0.output.LayerNorm.bias": (768,),
        "text.proj.0.weight": (640, 768),
        "text.proj.2.weight": (512, 640),
    }.items():
        assert shapes[key] == shape
    assert not any(key.endswith("bias") for key in shapes if key.startswith(("text.proj", "visual.head")))
    assert not any("pooler" in key for key in shapes)


@pytest.mark.parametrize(
    ("name", "size", "numbers"),
    [
        ("vit_tiny_patch16_224", 224, (192, 768, 12, 3)),
        ("vit_small_patch32_384", 384, (384, 1536, 12, 6)),
        ("vit_base_patch8_224.augreg_in21k", 224, (768, 3072, 12, 12)),
        ("vit_large_patch14_224", 224, (1024, 4096, 24, 16)),
    ],
)
def test_timms_names(name: str, size: int, numbers: tuple[int, ...], config: Config) -> None:
    config["model_cfg"]["vision_cfg"] |= {"timm_model_name": name, "image_size": size}
    vision = BiomedClipParams.from_json(config).vision
    found = vision.hidden_size, vision.intermediate_size, vision.num_hidden_layers, vision.num_attention_heads
    assert found == numbers
    assert vision.image_size == size


def test_explicit_numbers_win_over_the_name(config: Config) -> None:
    numbers = {"patch_size": 8, "embed_dim": 40, "depth": 3, "num_heads": 5, "mlp_ratio": 2.5}
    config["model_cfg"]["vision_cfg"] |= {"timm_model_name": "vit_of_mine", "image_size": 64, "timm_kwargs": numbers}
    assert BiomedClipParams.from_json(config).vision == VitParams(40, 100, 3, 5, 64, 8)


def _vision(**changes: object) -> Callable[[Config], object]:
    return lambda config: config["model_cfg"]["vision_cfg"].update(changes)


def _text(**changes: object) -> Callable[[Config], object]:
    return lambda config: config["model_cfg"]["text_cfg"].update(changes)


def _bert(**changes: object) -> Callable[[Config], object]:
    return lambda config: config["text_config"].update(changes)


NUMBERS = {"patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(model_type="phi3_v"), "model_type is 'phi3_v', expected 'biomedclip'"),
        (lambda c: c.update(model_cfg=[1]), "model_cfg is [1], expected an object"),
        (lambda c: c["model_cfg"].pop("embed_dim"), "missing key 'model_cfg.embed_dim'"),
        (lambda c: c["model_cfg"].update(embed_dim=True), "embed_dim is True, expected a whole number above 0"),
        (_vision(timm_model_name="resnet50"), "timm_model_name is 'resnet50', known are vit_{tiny,small,base,large}"),
        (_vision(timm_model_name="vit_base_patch16_clip_224"), "timm_model_name is 'vit_base_patch16_clip_224'"),
        (
            _vision(timm_model_name="vit_base_patch16_siglip_224", timm_kwargs=NUMBERS),
            "timm_model_name is 'vit_base_patch16_siglip_224', which is another architecture",
        ),
        (_vision(timm_model_name=7, timm_kwargs=NUMBERS), "timm_model_name is 7"),
        (_vision(timm_kwargs={**NUMBERS, "mlp_ratio": 1e16}), "embed_dim * mlp_ratio is 640000000000000000"),
        (_vision(timm_kwargs={**NUMBERS, "mlp_ratio": 1e-9}), "embed_dim * mlp_ratio is 0"),
        (_vision(timm_model_name=None), "missing key 'model_cfg.vision_cfg.timm_model_name'"),
        (
            lambda c: c["model_cfg"]["vision_cfg"].pop("timm_model_name"),
            "missing key 'model_cfg.vision_cfg.timm_model_name'",
        ),
        (_vision(timm_pool="avg"), "timm_pool is 'avg'; known is '' or 'token'"),
        (_vision(timm_proj="mlp"), "timm_proj is 'mlp'; known is 'linear'"),
        (_vision(timm_proj_bias=True), "timm_proj_bias is True; known is False"),
        (_vision(image_size=384), "image_size 384 is not that of vit_base_patch16_224"),
        (_vision(image_size=100, timm_kwargs=NUMBERS), "image_size 100 is not a multiple of the patch size 16"),
        (_vision(timm_kwargs=NUMBERS | {"depth": 10**9}), "depth is 1000000000, more than any model has (1,024)"),
        (_vision(timm_kwargs=NUMBERS | {"num_heads": 5}), "vision width 64 is not a multiple of the number of heads 5"),
        (_vision(timm_kwargs=NUMBERS | {"mlp_ratio": "4"}), "mlp_ratio is '4', expected a number above 0"),
        (
            _vision(timm_kwargs=NUMBERS | {"qk_norm": True}),
            "does not know the key 'model_cfg.vision_cfg.timm_kwargs.qk_norm'",
        ),
        (_text(hf_proj_type="linear"), "hf_proj_type is 'linear'; known is 'mlp'"),
        (_text(hf_pooler_type="mean_pooler"), "hf_pooler_type is 'mean_pooler'"),
        (_text(context_length=513), "context_length 513 exceeds BERT's 512 positions"),
        (_bert(model_type="roberta"), "text_config.model_type is 'roberta'; known is 'bert'"),
        (_bert(hidden_act="gelu_new"), "hidden_act is 'gelu_new'; known is 'gelu'"),
        (_bert(position_embedding_type="relative_key"), "position_embedding_type is 'relative_key'"),
        (_bert(pad_token_id=1), "pad_token_id is 1; known is 0"),
        (_bert(num_attention_heads=7), "text_config: hidden_size 768 is not a multiple of num_attention_heads 7"),
        (_bert(layer_norm_eps="small"), "text_config: layer_norm_eps is 'small', expected a number above 0"),
        (_bert(vocab_size=0), "vocab_size is 0"),
    ],
)
def test_what_the_model_cannot_be_is_named(change: Callable[[Config], object], message: str, config: Config) -> None:
    change(config)
    with pytest.raises(CheckpointError) as caught:
        BiomedClipParams.from_json(config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
