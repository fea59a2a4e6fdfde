"""`trace`: our model's values at every stage that the golden vectors recorded."""

from collections.abc import Callable

import pytest
import torch
from golden_phi3 import Case
from torch import Tensor, nn

from nexus_edge.layers.kv_cache import KVCache, positions_of
from nexus_edge.models.phi3_v.model import Phi3V

Stages = dict[str, Tensor]


@pytest.fixture(scope="session")
def trace() -> Callable[[Case], Stages]:
    """Case -> stage -> value, each case run once a session."""
    done: dict[Case, Stages] = {}

    def run(case: Case) -> Stages:
        if case not in done:
            done[case] = _trace(case)
        return done[case]

    return run


def _trace(case: Case) -> Stages:
    model, cache, stages = case.model, KVCache(), {}
    hooks = _record(model, stages)
    with torch.inference_mode():
        stages["logits"] = model(
            case.input_ids, case.pixel_values, case.image_sizes, attention_mask=case.attention_mask, cache=cache
        )
    for hook in hooks:
        hook.remove()
    stages["position_ids"] = positions_of(case.attention_mask)
    stages["kcache_layer0"], stages["vcache_layer0"] = cache.layers[0]
    for name in ("rope_cos", "rope_sin"):  # the original keeps both halves, which are equal
        stages[name] = torch.cat((stages[name], stages[name]), dim=-1)
    return stages


def _record(model: Phi3V, stages: Stages) -> list[torch.utils.hooks.RemovableHandle]:
    core, layer0 = model.model, model.model.layers[0]
    vision, project = core.vision_embed_tokens.img_processor["vision_model"], core.vision_embed_tokens.img_projection

    def out(module: nn.Module, *names: str) -> torch.utils.hooks.RemovableHandle:
        def keep(_: nn.Module, __: object, value: Tensor | tuple[Tensor, ...]) -> None:
            values = value if isinstance(value, tuple) else (value,)
            stages.update(zip(names, values, strict=False))

        return module.register_forward_hook(keep)

    def into(module: nn.Module, name: str) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_pre_hook(lambda _, args: stages.update({name: args[0]}))

    return [
        out(vision.pre_layrnorm, "clip_pre_layrnorm"),
        *(out(layer, f"clip_layer_out_{i}") for i, layer in enumerate(vision.encoder.layers)),
        out(vision, "vision_features"),
        into(project, "img_features_hd"),
        out(project, "img_features_proj"),
        into(layer0, "inputs_embeds"),
        out(core.rope, "rope_cos", "rope_sin"),
        out(layer0.self_attn.qkv_proj, "layer0_qkv"),
        into(layer0.self_attn.o_proj, "layer0_attn_ctx"),
        *(out(layer, f"layer_out_{i}") for i, layer in enumerate(core.layers)),
        out(core.norm, "final_norm"),
    ]
