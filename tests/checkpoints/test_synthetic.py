"""Synthetic weights: the same everywhere, the right shapes, and statistically what they claim."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from nexus_edge.checkpoints import SyntheticCheckpoint, check_finite, published_numbers, tiny_folder
from nexus_edge.checkpoints.synthetic import STD, STRIDE, TABLE
from nexus_edge.errors import CheckpointError

QKV = "model.layers.3.self_attn.qkv_proj.weight"
HUB = Path(__file__).parents[3] / "shared" / "data" / "phi3_vision_hub_files"


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCheckpoint:
    tokenizer = tmp_path_factory.mktemp("tokenizer")
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        (tokenizer / name).write_text('{"of": "the tokenizer"}')
    return SyntheticCheckpoint(published_numbers("phi3_vision"), tokenizer)


def test_it_has_the_parameters_of_the_real_model(synthetic: SyntheticCheckpoint) -> None:
    # The published index: 592 tensors, total_size 8293242880 bytes in bfloat16.
    assert len(synthetic.keys()) == 592
    assert sum(info.size for info in synthetic.keys().values()) == 8_293_242_880
    assert {info.dtype for info in synthetic.keys().values()} == {"bfloat16"}


def test_two_readers_and_any_rows_agree_bit_for_bit(synthetic: SyntheticCheckpoint) -> None:
    whole = synthetic.read(QKV)
    assert whole.shape == (9216, 3072)
    for start, stop in ((0, 1), (1, 2), (17, 1000), (9215, 9216), (5, 5), (9000, 99_999)):
        assert np.array_equal(synthetic.rows(QKV, start, stop).view(np.uint16), whole[start:stop].view(np.uint16))
    again = SyntheticCheckpoint(published_numbers("phi3_vision"), Path("unused"))
    assert np.array_equal(again.read(QKV).view(np.uint16), whole.view(np.uint16))


def test_matrices_are_normal_and_of_full_rank(synthetic: SyntheticCheckpoint) -> None:
    values = synthetic.rows(QKV, 0, 512).astype(np.float64)
    # 1.6 million values: the standard error of the mean is 1.6e-5, of the deviation 0.06 %, of the kurtosis 0.004. The
    # bounds are several of these.
    assert abs(values.mean()) < 1e-4
    assert abs(values.std() / STD - 1) < 0.005
    assert abs((values**4).mean() / values.var() ** 2 - 3) < 0.03
    smallest = np.linalg.svd(values[:256], compute_uv=False)[-1]
    # Marchenko-Pastur: about STD * (sqrt(3072) - sqrt(256)) = 0.79 for independent rows; repeated rows give 0.
    assert smallest > 0.5


def test_norm_scales_lie_around_one_and_biases_around_zero(synthetic: SyntheticCheckpoint) -> None:
    # In float32: a sum of ones in bfloat16 stops at 256.
    sample = {key: synthetic.rows(key, 0, 512 if len(info.shape) == 1 else 1) for key, info in synthetic.keys().items()}
    means = {key: rows.astype(np.float32).mean() for key, rows in sample.items()}
    ones = [key for key, mean in means.items() if abs(mean - 1) < 0.1]
    clip = "model.vision_embed_tokens.img_processor.vision_model"
    expected = {f"model.layers.{i}.{n}_layernorm.weight" for i in range(32) for n in ("input", "post_attention")}
    expected |= {f"{clip}.encoder.layers.{i}.layer_norm{n}.weight" for i in range(24) for n in (1, 2)}
    expected |= {"model.norm.weight", f"{clip}.pre_layrnorm.weight", f"{clip}.post_layernorm.weight"}
    assert set(ones) == expected
    assert all(abs(mean) < 0.1 for key, mean in means.items() if key not in expected)


def test_no_two_tensors_and_no_two_blocks_start_at_the_same_place(synthetic: SyntheticCheckpoint) -> None:
    digests = [hashlib.sha256(key.encode()).digest() for key in list(synthetic.keys())]
    origins = {int.from_bytes(digest[:4], "little") % TABLE for digest in digests}
    assert len(origins) == 592
    assert STRIDE % 2 == 1 and TABLE & (TABLE - 1) == 0  # coprime: multiples do not repeat before TABLE blocks


def test_values_are_finite(synthetic: SyntheticCheckpoint) -> None:
    for key in ("model.norm.weight", "model.vision_embed_tokens.glb_GN", QKV):
        check_finite(key, synthetic.read(key))


def test_configs_are_the_models_own_and_the_tokenizer_is_lent(synthetic: SyntheticCheckpoint) -> None:
    files = synthetic.processor_files()
    assert json.loads(files["tokenizer.json"]) == {"of": "the tokenizer"}
    assert json.loads(files["config.json"])["_nexus_edge_weights"] == "synthetic"
    assert json.loads(files["preprocessor_config.json"])["num_crops"] == 16
    newer = SyntheticCheckpoint(published_numbers("phi3_5_vision"), Path("unused"))
    assert newer.keys() == synthetic.keys()
    assert newer.config["sliding_window"] == 262_144
    assert newer.config["rope_scaling"] != synthetic.config["rope_scaling"]


@pytest.mark.parametrize(
    ("name", "long", "short"),
    [("phi3_vision", 1513.02015, 96.05), ("phi3_5_vision", 1828.04008, 264.51)],
)
def test_rope_lists_have_the_published_sums(name: str, long: float, short: float) -> None:
    rope = SyntheticCheckpoint(published_numbers(name), Path("unused")).config["rope_scaling"]
    assert len(rope["long_factor"]) == len(rope["short_factor"]) == 48
    # The sums are given to five decimals.
    assert sum(rope["long_factor"]) == pytest.approx(long, abs=1e-5)
    assert sum(rope["short_factor"]) == pytest.approx(short, abs=1e-5)


def test_numbers_and_keys_are_the_published_ones(synthetic: SyntheticCheckpoint) -> None:
    if not HUB.is_dir():
        pytest.skip("the published files are not ours to copy; they are not here")
    published = json.loads((HUB / "config.json").read_text())
    own = {key: value for key, value in synthetic.config.items() if key != "_nexus_edge_weights"}
    assert {key: published.get(key) for key in own} == own
    assert set(json.loads((HUB / "model.safetensors.index.json").read_text())["weight_map"]) == set(synthetic.keys())
    assert set(published) - set(own) == {"_name_or_path", "auto_map", "transformers_version", "_attn_implementation"}


def test_biomedclip_has_the_parameters_of_the_real_model() -> None:
    """The published count; open_clip's own model has as many, see tests/models/test_biomedclip_original.py."""
    towers = SyntheticCheckpoint(published_numbers("biomedclip"), Path("unused"))
    infos = towers.keys()
    assert sum(info.size for info in infos.values()) == 2 * 195_902_721
    assert towers.read("logit_scale").shape == ()
    norms = {key for key in infos if key.endswith("weight") and "norm" in key.lower()}
    assert len(norms) == 25 + 25  # 12 blocks and the end of the ViT; the embeddings and 12 layers of the BERT
    for key, info in infos.items():
        sample = towers.rows(key, 0, 1) if len(info.shape) > 1 else towers.read(key)
        # The spread is 0.02, so that even a single value lies nearer to its own mean than to the other.
        assert abs(sample.astype(np.float32).mean() - (key in norms)) < 0.2


def test_biomedclips_tokenizer_is_lent_by_the_embedded_checkpoint() -> None:
    files = SyntheticCheckpoint(published_numbers("biomedclip"), tiny_folder("biomedclip")).processor_files()
    assert files["tokenizer.json"] == (tiny_folder("biomedclip") / "tokenizer.json").read_bytes()
    config = json.loads(files["config.json"])
    assert (config["model_cfg"]["embed_dim"], config["_nexus_edge_weights"]) == (512, "synthetic")
    assert set(files) == {"config.json", "tokenizer.json", "tokenizer_config.json"}


def test_unknown_key_is_refused(synthetic: SyntheticCheckpoint) -> None:
    with pytest.raises(CheckpointError, match="no tensor 'nope'"):
        synthetic.read("nope")
