"""P1: every stage that was recorded of the original is reproduced."""

from collections.abc import Callable

import pytest
import torch
from golden_phi3 import CASES, Case
from torch import Tensor

from nexus_edge.ops.rotary import rotary

Trace = Callable[[Case], dict[str, Tensor]]

# Of a stage's largest value. Same arithmetic in float32, but sums of up to 2,000 terms in another order, through three
# layers: 30 roundings of 6e-8 that add up would be 2e-6, which is also the largest seen; a wrong term is 1e-2 or more.
NOISE = 1e-5
FLOAT_CASES = [name for name in CASES if name != "text_bf16"]
AROUND = ("rows", "decode", "full_recompute", "attn_layer0_last_row")  # not stages of one call, or tested apart


def _stages(name: str) -> list[str]:
    return [stage for stage in Case(name).stages if not stage.endswith("rows") and not stage.startswith(AROUND)]


def _actual(name: str, stage: str, expected: Tensor, traced: dict[str, Tensor]) -> Tensor:
    """Our value of a stage, cut to what was recorded of it."""
    recorded = Case(name).stages
    if stage == "logits":
        return traced["logits"][:, recorded["logits_rows"]]
    if stage == "img_features_hd_rowsum":
        return traced["img_features_hd"].sum(-1)
    if stage.startswith("img_features"):
        return traced[stage][recorded["img_feature_rows"]]
    if stage.startswith("clip"):
        return traced[stage][:, recorded["clip_rows"]]
    value, axis = traced[stage], 2 if stage.endswith("cache_layer0") else 1
    return value if value.shape == expected.shape else value.index_select(axis, recorded["rows"])


def assert_close(actual: Tensor, expected: Tensor, noise: float = NOISE) -> None:
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= noise * expected.abs().max()


@pytest.mark.parametrize(
    ("name", "stage"), [(name, stage) for name in FLOAT_CASES for stage in _stages(name) if "vision" not in stage]
)
def test_stage(name: str, stage: str, trace: Trace) -> None:
    expected = Case(name).stages[stage]
    traced = trace(Case(name))
    if stage == "clip_layer_out_2":  # the last layer makes no difference to any result, so our model does not run it
        last = Case(name).model.model.vision_embed_tokens.img_processor["vision_model"].encoder.layers[-1]
        with torch.inference_mode():
            traced = traced | {stage: last(traced["clip_layer_out_1"])}
    assert_close(_actual(name, stage, expected, traced), expected)


@pytest.mark.parametrize("name", [name for name in FLOAT_CASES if CASES[name]["images"]])
def test_vision_features(name: str, trace: Trace) -> None:
    """Recorded with a stride over the flattened [images, crops, patches], padding crops included."""
    (stage,) = (stage for stage in Case(name).stages if stage.startswith("vision_features"))
    stride, crops = int(stage.rpartition("stride")[2]), CASES[name]["pixel_values_shape"][1]
    features, compared, start = trace(Case(name))["vision_features"], 0, 0
    for image, (height, width) in enumerate(Case(name).image_sizes.tolist()):
        existing = height // 336 * (width // 336) + 1
        own = features[start : start + existing].flatten(0, 1)
        first = image * crops * 576
        kept = [i for i in range(0, len(Case(name).stages[stage]) * stride, stride) if 0 <= i - first < existing * 576]
        recorded = Case(name).stages[stage][[i // stride for i in kept]]
        assert_close(own[[i - first for i in kept]], recorded)
        compared, start = compared + len(kept), start + existing
    assert start == len(features)
    assert compared >= 100  # rows of 64 channels


@pytest.mark.parametrize("name", [name for name in FLOAT_CASES if "attn_layer0_last_row" in Case(name).stages])
def test_attention_weights_of_the_last_token(name: str, trace: Trace) -> None:
    """The fused attention keeps no weights; from its inputs follow those that the original recorded."""
    case, params = Case(name), Case(name).model.params.decoder
    traced = trace(case)
    cos, sin = (traced[table].chunk(2, dim=-1)[0] for table in ("rope_cos", "rope_sin"))
    query = rotary(traced["layer0_qkv"][..., : params.hidden_size].contiguous(), cos, sin, params.num_heads)[:, -1]
    heads = query.unflatten(-1, (params.num_heads, params.head_dim)).unsqueeze(2)
    scores = (heads @ traced["kcache_layer0"].transpose(2, 3)).squeeze(2) / params.head_dim**0.5
    distance = case.input_ids.shape[1] - 1 - torch.arange(case.input_ids.shape[1])
    hidden = case.attention_mask == 0
    if params.window >= 0:
        hidden = hidden | (distance > params.window)
    weights = scores.masked_fill(hidden[:, None, :], -torch.inf).softmax(-1)
    assert_close(weights, case.stages["attn_layer0_last_row"])


def test_bf16(trace: Trace) -> None:
    """In bfloat16 nobody is right to the bit, the original included; its distance to its own float32 run is the noise.

    Ours may not be farther from that float32 run (by a tenth, for luck), and two independent errors of that size are
    sqrt(2) of it apart.
    """
    original, exact, ours = Case("text_bf16").stages, Case("text").stages, trace(Case("text_bf16"))
    assert torch.equal(ours["inputs_embeds"], original["inputs_embeds"])
    for stage in ("final_norm", "logits"):
        noise = _rms(original[stage] - exact[stage])
        assert _rms(ours[stage] - exact[stage]) <= 1.1 * noise
        assert _rms(ours[stage] - original[stage]) <= 2**0.5 * noise


def _rms(x: Tensor) -> Tensor:
    return x.float().square().mean().sqrt()
