"""Numbers of config.json: the published shapes and keys, absent keys as the authors' class means them, refusals."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
import torch

from nexus_edge.checkpoints.base import TensorInfo
from nexus_edge.checkpoints.keys import check_keys
from nexus_edge.configs.keys import check_keys_of
from nexus_edge.errors import CheckpointError
from nexus_edge.families import family_named
from nexus_edge.models import from_checkpoint
from nexus_edge.models.molmo.config_keys import FILES
from nexus_edge.models.molmo.model import build, weight_rules
from nexus_edge.models.molmo.params import MolmoParams

TINY = Path(__file__).parents[2] / "golden" / "molmo_tiny"
Config = dict[str, Any]
SHARED = {"model_type": "molmo", "max_position_embeddings": 4096, "use_position_ids": True, "weight_tying": False}
# The published files: 7B-D's own numbers, those of the others as their launch scripts have them.
D7B: Config = {
    **SHARED, "hidden_size": 3584, "intermediate_size": 37888, "num_hidden_layers": 28, "num_attention_heads": 28,
    "num_key_value_heads": 4, "vocab_size": 152064, "embedding_size": 152064, "rope_theta": 1000000.0,
    "layer_norm_type": "rms", "layer_norm_eps": 1e-6, "qkv_bias": True, "attention_layer_norm": False,
    "norm_after": False, "tie_word_embeddings": False, "clip_qkv": None, "initializer_range": 0.02, "use_cache": True,
    "architectures": ["MolmoForCausalLM"],
}  # fmt: skip
O7B: Config = {
    **SHARED, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 32, "vocab_size": 100278, "embedding_size": 100352, "rope_theta": 500000.0,
    "layer_norm_eps": 1e-6, "qkv_bias": False, "attention_layer_norm": True, "norm_after": True,
}  # fmt: skip
B72: Config = {
    **D7B, "hidden_size": 8192, "intermediate_size": 59136, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "layer_norm_eps": 1e-5,
}  # fmt: skip


def tiny() -> Config:
    return json.loads((TINY / "config.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # hidden, MLP, layers, heads, key and value heads, embeddings, base of RoPE, epsilon, <im_patch>
        (D7B, (3584, 18944, 28, 28, 4, 152064, 1e6, 1e-6, 152066)),
        (O7B, (4096, 11008, 32, 32, 32, 100352, 5e5, 1e-6, 100280)),
        (B72, (8192, 29568, 80, 64, 8, 152064, 1e6, 1e-5, 152066)),
        # MolmoConfig()
        ({"model_type": "molmo"}, (4096, 5504, 32, 32, 32, 50304, 1e4, 1e-5, 50306)),
    ],
)
def test_numbers_of_published_files(config: Config, expected: tuple[float, ...]) -> None:
    params = MolmoParams.from_json(config)
    decoder = params.decoder
    assert expected == (
        decoder.hidden_size, decoder.intermediate_size, params.num_hidden_layers, decoder.num_heads,
        decoder.num_kv_heads, params.embedding_size, params.rope_theta, decoder.rms_norm_eps, params.patch_token,
    )  # fmt: skip
    assert (params.vision.num_hidden_layers, params.feature_layers, params.joined_size) == (23, (21, 14), 2048)
    assert (params.qk_norm, params.norm_after) == ((True, True) if config is O7B else (False, False))


def test_the_published_model_is_counted_right() -> None:
    """8,021,025,280 parameters in 585 tensors, as the model's page and its index have it."""
    with torch.device("meta"):
        model = build(D7B)
    parameters = dict(model.named_parameters())
    assert (len(parameters), sum(tensor.numel() for tensor in parameters.values())) == (585, 8_021_025_280)
    assert model.vocab_size == 152192
    block = "model.transformer.blocks.27"
    assert [list(parameters[f"{block}.{name}"].shape) for name in ("att_proj.weight", "att_proj.bias")] == [
        [4608, 3584], [4608],
    ]  # fmt: skip
    assert list(parameters["model.vision_backbone.image_pooling_2d.wk.weight"].shape) == [1024, 2048]


def test_the_keys_of_the_files_fit() -> None:
    with torch.device("meta"):
        model = build(tiny())
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    stored = safetensors.numpy.load_file(TINY / "model.safetensors")
    found = {name: TensorInfo("float32", array.shape) for name, array in stored.items()}
    keys = check_keys(found, shapes, weight_rules(tiny()))
    assert set(keys.values()) == set(found)
    tables = {f"model.transformer.wte.{name}.weight": f"model.transformer.wte.{name}"
              for name in ("embedding", "new_embedding")}  # fmt: skip
    assert {name: key for name, key in keys.items() if name != key} == tables
    found["model.transformer.blocks.0.q_norm.weight"] = TensorInfo("float32", (96,))
    with pytest.raises(CheckpointError, match=r"1 unexpected: model\.transformer\.blocks\.0\.q_norm\.weight"):
        check_keys(found, shapes, weight_rules(tiny()))


def test_sharded_files_give_the_same_model(tmp_path: Path) -> None:
    stored = safetensors.numpy.load_file(TINY / "model.safetensors")
    names = sorted(stored)
    where = {name: f"model-{1 + index % 2:05}-of-00002.safetensors" for index, name in enumerate(names)}
    for shard in sorted(set(where.values())):
        safetensors.numpy.save_file({name: stored[name] for name in names if where[name] == shard}, tmp_path / shard)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (tmp_path / "config.json").write_text(json.dumps(tiny()))
    one, other = (dict(from_checkpoint(folder).named_parameters()) for folder in (TINY, tmp_path))
    assert all(torch.equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


def test_norms_of_olmo_have_their_keys_and_come_after() -> None:
    """By hand: with weights of zero in a block's norms, what its parts give is nothing, and the block passes on."""
    config = {**tiny(), "attention_layer_norm": True, "norm_after": True, "qkv_bias": False}
    model = build(config)
    names = {name for name, _ in model.named_parameters() if name.startswith("model.transformer.blocks.0.")}
    parts = ("att_proj", "attn_out", "ff_proj", "ff_out", "attn_norm", "ff_norm", "q_norm", "k_norm")
    assert names == {f"model.transformer.blocks.0.{part}.weight" for part in parts}
    block = model.model.transformer.blocks[0]
    assert [list(norm.weight.shape) for norm in (block.q_norm, block.k_norm)] == [[96], [32]]
    x = torch.randn(1, 5, 96, generator=torch.Generator().manual_seed(0))
    cos, sin = model.model.transformer.rope(torch.arange(5)[None])
    mask, past = torch.ones(1, 5, dtype=torch.int64), model.empty_past(x)[0]
    with torch.inference_mode():
        moved = block(x, cos, sin, mask, past)[0]
        for norm in (block.attn_norm, block.ff_norm):
            norm.weight.zero_()
        assert torch.equal(block(x, cos, sin, mask, past)[0], x)
    assert (moved - x).abs().max() > 0.1


def changed(path: str, value: Any) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            config = config[parent]
        config[last] = value

    return change


FIXED = "_golden_hardcoded"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("model_type", "molmo2"), "model_type is 'molmo2'"),
        (changed("layer_norm_type", "default"), "layer_norm_type is 'default'"),
        (changed("clip_qkv", 8.0), "clip_qkv is 8.0"),
        (changed("weight_tying", True), "weight_tying is True"),
        (changed("use_position_ids", False), "use_position_ids is False"),
        (changed("moe_num_experts", 64), "moe_num_experts is 64.*MolmoE"),
        (changed("block_type", "moe"), "block_type is 'moe'"),
        (changed("embedding_size", 300), "embedding_size is 300, and vocab_size 512"),
        (changed("intermediate_size", 255), "intermediate_size is 255"),
        (changed("num_key_value_heads", 4), "num_attention_heads 6 is not a multiple of num_key_value_heads 4"),
        (changed("new_key", 1), "does not know the key 'new_key'"),
        (changed(f"{FIXED}.image_pooling_2d", "stack"), "image_pooling_2d is 'stack'"),
        (changed(f"{FIXED}.vit_layers", [-2, -11]), "vit_layers is"),
        (changed(f"{FIXED}.vision_backbone.image_head_dim", 32), "image_head_dim is 32"),
        (changed(f"{FIXED}.vision_backbone.image_patch_size", 16), "image_patch_size is 16"),
    ],
)
def test_what_is_not_computed_is_refused(change: Callable[[Config], None], message: str) -> None:
    config = copy.deepcopy(tiny())
    change(config)
    with pytest.raises(CheckpointError, match=message) as caught:
        MolmoParams.from_json(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in FILES if (TINY / name).is_file()])
def test_every_key_of_the_goldens_files_is_known(name: str) -> None:
    check_keys_of(json.loads((TINY / name).read_text("utf-8")), FILES[name], name)


@pytest.mark.parametrize(
    ("key", "value"),
    [("overlap_margins", [2, 2]), ("image_padding_mask", False), ("base_image_input_size", [224, 224])],
)
def test_another_way_to_cut_images_is_refused(key: str, value: object) -> None:
    config = json.loads((TINY / "preprocessor_config.json").read_text("utf-8"))
    with pytest.raises(CheckpointError, match=key):
        check_keys_of({**config, key: value}, FILES["preprocessor_config.json"], "preprocessor_config.json")


def test_what_is_not_there_yet_says_so() -> None:
    family = family_named("molmo")
    for call in (family.split, family.static_split, family.parity, lambda: family.facts(tiny(), TINY)):
        with pytest.raises(CheckpointError, match=r"Molmo has no .* yet"):
            call()
