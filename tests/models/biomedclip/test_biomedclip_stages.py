"""P1: every stage that was recorded of open_clip is reproduced."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from golden_biomedclip import COMPLETE, FOLDER, LONG_ROW, model, outputs, pixel_values, text_ids
from torch import Tensor, nn

from nexus_edge.layers.bert import PAD

# Of a stage's largest value. Same arithmetic in float32, but sums of up to 768 terms in another order, through three
# layers: 15 roundings of 6e-8 that add up are 9e-7, which is about the largest seen. Probabilities reach 2e-6, because
# an error of a logit (of 20) is one of the probability's logarithm. A wrong term is 1e-2 or more.
NOISE = 5e-6

# What of a stage [rows, tokens, width] was kept, by the second part of the recorded name.
SAMPLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda x: x,
    "all_stride19": lambda x: x[:, ::19],
    "img0_1": lambda x: x[:2],
    "first24": lambda x: x[:, :24],
    "first24_stride3": lambda x: x[:, :24:3],
    "longrow": lambda x: x[LONG_ROW],
    "longrow_stride8": lambda x: x[LONG_ROW, ::8],
}
# Statistics of the pixels, which are compared by their hash.
OF_INPUTS = ("pixel_values_mean_std", "pixel_values_strided997")


@pytest.fixture(scope="module")
def stages() -> dict[str, Tensor]:
    """Our model's values under the names of the recording."""
    golden, found = model(), {}
    trunk, bert = golden.visual.trunk, golden.text.transformer

    def out(module: nn.Module, name: str) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _, __, value: found.update({name: value}))

    hooks = [
        out(trunk.patch_embed, "vit_patch_embed"),
        trunk.blocks[0].register_forward_pre_hook(lambda _, args: found.update(vit_tokens_in=args[0])),
        *(out(block, f"vit_block_out_{i}") for i, block in enumerate(trunk.blocks)),
        out(trunk, "vit_pooled"),
        out(golden.visual, "image_features"),
        out(bert.embeddings, "bert_embeddings"),
        *(out(layer, f"bert_layer_out_{i}") for i, layer in enumerate(bert.encoder.layer)),
        out(bert, "bert_pooled"),
        out(golden.text, "text_features"),
    ]
    with torch.inference_mode():
        found["logits_per_image"] = golden(pixel_values(), text_ids())
        found["image_features_normalized"] = golden.encode_image(pixel_values())
        found["text_features_normalized"] = golden.encode_text(text_ids())
        # Of all tokens; after the last attention our model computes the one that is read.
        last = len(trunk.blocks) - 1, len(bert.encoder.layer) - 1
        found[f"vit_block_out_{last[0]}"] = trunk.blocks[-1](found[f"vit_block_out_{last[0] - 1}"])
        found[f"bert_layer_out_{last[1]}"] = bert.encoder.layer[-1](
            found[f"bert_layer_out_{last[1] - 1}"], text_ids() != PAD
        )
        found["vit_norm"] = trunk.norm(found[f"vit_block_out_{len(trunk.blocks) - 1}"])
        found["logit_scale_exp"] = golden.logit_scale.exp().reshape(1)
    for hook in hooks:
        hook.remove()
    found["logits_per_text"] = found["logits_per_image"].T
    found["probs_per_image"] = found["logits_per_image"].softmax(-1)
    return found


def _recorded(folder: Path) -> list[str]:
    return sorted(set(outputs(folder)) - set(OF_INPUTS))


@pytest.mark.parametrize("name", _recorded(FOLDER))
def test_stage(name: str, stages: dict[str, Tensor]) -> None:
    assert_close(name, outputs()[name], stages)


def test_stages_of_the_complete_recording(stages: dict[str, Tensor]) -> None:
    if not COMPLETE.is_dir():
        pytest.skip("the complete recording stands in ../shared, which is not here")
    names = _recorded(COMPLETE)
    assert len(names) > len(_recorded(FOLDER))
    for name in names:
        assert_close(name, outputs(COMPLETE)[name], stages)


def assert_close(name: str, expected: Tensor, stages: dict[str, Tensor]) -> None:
    stage, _, sampling = name.partition(".")
    actual = SAMPLINGS[sampling](stages[stage])
    assert actual.shape == expected.shape, name
    assert (actual - expected).abs().max() <= NOISE * expected.abs().max(), name
