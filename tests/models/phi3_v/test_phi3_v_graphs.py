"""The three parts of Phi-3-Vision, run in a row, are the model."""

import golden_phi3
import pytest
import torch
from golden_phi3 import Case
from torch import Tensor

from nexus_edge.families import family_named
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.layers.kv_cache import KVCache
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.models.phi3_v.params import Phi3VisionParams
from nexus_edge.targets.tracing import dynamic_shapes, example

NOISE = 1e-5  # of the largest logit: float32 sums in another order, see tests/models/test_phi3_v_stages.py
SPLIT = family_named("phi3_v").split()


@pytest.fixture(scope="module")
def specs() -> dict[str, GraphSpec]:
    return {spec.name: spec for spec in SPLIT.graphs(golden_phi3.model())}


def test_parts_in_a_row_are_the_model(specs: dict[str, GraphSpec]) -> None:
    case, cache = Case("two_short"), KVCache()
    model, tail = case.model, torch.tensor([[7, 8, 9]])
    with torch.inference_mode():
        expected = model(case.input_ids, case.pixel_values, case.image_sizes, cache=cache)[:, -1:]
        features = specs["vision_encoder"].module(case.pixel_values, case.image_sizes)
        embeds = specs["embed_tokens"].module(case.input_ids, features)
        logits, *past = specs["decoder"].module(embeds, case.attention_mask, *flat(model.empty_past(embeds)))
        assert logits.shape == (1, 1, 512)
        assert (logits - expected).abs().max() <= NOISE * expected.abs().max()

        expected = model(tail, cache=cache)[:, -1:]
        embeds = specs["embed_tokens"].module(tail, features[:0])
        mask = torch.ones(1, case.input_ids.shape[1] + 3, dtype=torch.int64)
        logits, *past = specs["decoder"].module(embeds, mask, *past)
    assert (logits - expected).abs().max() <= NOISE * expected.abs().max()
    for actual, grown in zip(past, flat(cache.layers), strict=True):
        assert (actual - grown).abs().max() <= NOISE * grown.abs().max()


def flat(pairs: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    return [tensor for pair in pairs for tensor in pair]


def test_names_and_shapes_are_those_that_genai_expects() -> None:
    with torch.device("meta"):
        specs = SPLIT.graphs(Phi3V(Phi3VisionParams.phi3_vision()))
    vision, embed, decoder = specs
    assert SPLIT.names == tuple(spec.name for spec in specs) == ("vision_encoder", "embed_tokens", "decoder")
    assert described(vision.inputs) == {
        "pixel_values": ("float32", "images", "crops", 3, 336, 336),
        "image_sizes": ("int64", "images", 2),
    }
    assert described(vision.outputs) == {"image_features": ("float32", "image_tokens", 3072)}
    assert described(embed.inputs) == {
        "input_ids": ("int64", "batch", "tokens"),
        "image_features": ("float32", "image_tokens", 3072),
    }
    assert described(embed.outputs) == {"inputs_embeds": ("float32", "batch", "tokens", 3072)}
    inputs, outputs = described(decoder.inputs), described(decoder.outputs)
    assert len(inputs) == 2 + 64
    assert len(outputs) == 1 + 64
    assert inputs["attention_mask"] == ("int64", "batch", "total")
    assert inputs["past_key_values.31.value"] == ("float32", "batch", 32, "past", 96)
    assert outputs["logits"] == ("float32", "batch", 1, 32064)
    assert outputs["present.0.key"] == ("float32", "batch", 32, "total", 96)


def described(tensors: tuple) -> dict[str, tuple[str | int, ...]]:
    return {tensor.name: (tensor.dtype, *tensor.shape) for tensor in tensors}


def test_examples_follow_the_description(specs: dict[str, GraphSpec]) -> None:
    ids, features = example(specs["embed_tokens"], {"batch": 2, "tokens": 5, "image_tokens": 3})
    assert (ids.dtype, tuple(ids.shape), ids.device.type) == (torch.int64, (2, 5), "meta")
    assert (features.dtype, tuple(features.shape)) == (torch.float32, (3, 96))
    batch, rows = (shape[0] for shape in dynamic_shapes(specs["embed_tokens"]))
    assert (batch.__name__, rows.__name__) == ("batch", "image_tokens")


@pytest.mark.parametrize(
    ("module", "graph"),
    [
        ("model.vision_embed_tokens.img_projection.0", "vision_encoder"),
        ("model.vision_embed_tokens.img_processor.vision_model.encoder.layers.0.mlp.fc1", "vision_encoder"),
        ("model.embed_tokens", "embed_tokens"),
        ("model.layers.0.mlp.down_proj", "decoder"),
        ("lm_head", "decoder"),
    ],
)
def test_every_layer_belongs_to_one_part(module: str, graph: str) -> None:
    assert SPLIT.owner(module) == graph
