"""LongRoPE with the numbers of the full-size models, against the original's tables and hand-computed check values."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from nexus_edge.layers.long_rope import LongRope, LongRopeParams
from nexus_edge.models.phi3_v.params import Phi3VisionParams

GOLDEN = Path(__file__).parents[1] / "golden" / "phi3_rope_real"
MODELS = {"phi3": Phi3VisionParams.phi3_vision, "phi35": Phi3VisionParams.phi3_5_vision}
CASES = ["batch_mixed", "decode_4095", "decode_4096", "decode_5000", "last_positions", "short_prompt"]
CASES += ["up_to_4095", "up_to_4096"]


def golden_tables() -> dict[str, Tensor]:
    return safetensors.torch.load_file(GOLDEN / "positions_cos_sin.safetensors")


def golden_config(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / "config.json").read_text())[name]


def params_of(name: str) -> LongRopeParams:
    if name in MODELS:
        return MODELS[name]().rope
    config = golden_config(name)
    scaling = config["rope_scaling"]
    return LongRopeParams(
        config["rope_theta"],
        tuple(scaling["short_factor"]),
        tuple(scaling["long_factor"]),
        config["original_max_position_embeddings"],
        config["max_position_embeddings"],
        scaling["type"],
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["phi3", "phi35", "phi3_as_yarn"])
def test_tables_of_the_original(name: str, case: str) -> None:
    golden = golden_tables()
    positions = golden[f"{case}.position_ids"]
    rope = LongRope(params_of(name))
    inv_freq = rope.long_inv_freq if positions.max() >= 4096 else rope.short_inv_freq
    # One float32 step (6e-8) in a power or a division.
    assert torch.allclose(inv_freq, golden[f"{name}.{case}.inv_freq"], rtol=2e-7, atol=0)
    for table, half in zip(("cos", "sin"), rope(positions, positions.max() + 1), strict=True):
        expected = golden[f"{name}.{case}.{table}"]
        assert torch.equal(expected[..., :48], expected[..., 48:])
        # Where a power or a division is rounded the other way, an angle differs by two steps of 2^-24 of itself.
        slack = positions.unsqueeze(-1) * inv_freq * 2**-23 * rope.magnitudes[0] + 2**-22
        assert ((half - expected[..., :48]).abs() <= slack).all()
        rounded = golden[f"{name}.{case}.{table}_bf16"]
        assert ((half.bfloat16() - rounded[..., :48]).abs() <= slack + 2**-7).all()  # one step of bfloat16 near 1.19


@pytest.mark.parametrize("name", MODELS)
def test_params_are_the_originals(name: str) -> None:
    params, config = MODELS[name](), golden_config(name)
    assert params.rope.short_factor == tuple(config["rope_scaling"]["short_factor"])
    assert params.rope.long_factor == tuple(config["rope_scaling"]["long_factor"])
    assert params.rope.theta == config["rope_theta"] == 10000
    assert params.rope.original_max_position_embeddings == config["original_max_position_embeddings"] == 4096
    assert params.rope.max_position_embeddings == config["max_position_embeddings"] == 131072
    assert params.decoder.head_dim == config["hidden_size"] // config["num_attention_heads"] == 96


@pytest.mark.parametrize(
    ("name", "table", "at", "total"),
    [
        ("phi3", "long", (0.970873813, 0.78609926, 0.00052492533, 1.8693526e-06), 1513.02015),
        ("phi3", "short", (0.952380952, 0.786099224, 0.00605763829, 3.97222183e-05), 96.05),
        ("phi35", "long", (0.925925889, 0.743607365, 0.000269467878, 1.86848817e-06), 1828.04008),
        ("phi35", "short", (0.925925926, 0.750367441, 0.00202935956, 1.34614184e-05), 264.51),
    ],
)
def test_check_values(name: str, table: str, at: tuple[float, ...], total: float) -> None:
    """Computed in float64 from the published lists: frequencies 0, 1, 23 and 47, and the sum of the factors."""
    params = MODELS[name]().rope
    inv_freq = getattr(LongRope(params), f"{table}_inv_freq")
    assert inv_freq[[0, 1, 23, 47]].tolist() == pytest.approx(at, rel=3e-7)  # a few float32 steps
    assert sum(getattr(params, f"{table}_factor")) == pytest.approx(total, rel=1e-8)  # digits of the check value


def test_magnitude() -> None:
    """sqrt(1 + ln(131072 / 4096) / ln(4096)) for "su", 0.1 ln(32) + 1 for "yarn", nothing without an extension."""
    assert Phi3VisionParams.phi3_vision().rope.magnitudes[0] == pytest.approx(1.1902380714238083, rel=1e-15)
    assert Phi3VisionParams.phi3_5_vision().rope.magnitudes[0] == pytest.approx(1.1902380714238083, rel=1e-15)
    assert params_of("phi3_as_yarn").magnitudes[0] == pytest.approx(1.3465735902799727, rel=1e-15)
    assert LongRopeParams(10000.0, (1.0,), (1.0,), 4096, 4096).magnitudes == (1.0, 1.0)


def test_the_switch_is_above_the_limit() -> None:
    rope = LongRope(Phi3VisionParams.phi3_vision().rope)
    position = torch.tensor([[100]])
    short, long = rope(position, torch.tensor(4096))[0], rope(position, torch.tensor(4097))[0]
    assert torch.equal(short, torch.cos(100 * rope.short_inv_freq).mul(rope.magnitudes[0])[None, None])
    assert torch.equal(long, torch.cos(100 * rope.long_inv_freq).mul(rope.magnitudes[0])[None, None])
    assert not torch.equal(short, long)
