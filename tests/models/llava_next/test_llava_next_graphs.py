"""The three parts of LLaVA-NeXT, run in a row, are the model: in torch, and as ONNX graphs in ONNX Runtime."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx_sessions import session_of
from torch import Tensor

from nexus_edge.layers.kv_cache import KVCache
from nexus_edge.models import from_checkpoint
from nexus_edge.models.llava_next.graphs import SPLIT
from nexus_edge.models.llava_next.model import LlavaNext
from nexus_edge.models.llava_next.processing import LlavaNextProcessor
from nexus_edge.targets.onnx.emit import PARAMETER_PREFIX, translate

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[2] / "golden" / "llava_next_tiny"
IMAGES = [TINY.parent / "llava_next_batch/images/wide_120x80.png", TINY / "images/tall_200x640.png"]
NOISE = 1e-5  # of the largest value: float32 sums in another order, as between the model and its original
Run = Callable[..., list[Tensor]]


@pytest.fixture(scope="module")
def model() -> LlavaNext:
    found = from_checkpoint(TINY)
    assert isinstance(found, LlavaNext)
    return found


@pytest.fixture(scope="module")
def in_torch(model: LlavaNext) -> Run:
    modules = {spec.name: spec.module for spec in SPLIT.graphs(model)}

    def run(graph: str, *tensors: Tensor) -> list[Tensor]:
        with torch.inference_mode():
            result = modules[graph](*tensors)
        return list(result) if isinstance(result, tuple) else [result]

    return run


@pytest.fixture(scope="module")
def in_onnx(model: LlavaNext) -> Run:
    """The exported graphs with the model's own weights inside."""
    with torch.device("meta"):
        empty = LlavaNext(model.params).eval()
    values = dict(model.named_parameters()) | model.constants()
    sessions = {}
    for spec in SPLIT.graphs(empty):
        graph = translate(spec)
        for name, initializer in graph.graph.initializers.items():
            value = values[name.removeprefix(PARAMETER_PREFIX)].detach().numpy()
            assert initializer.shape is not None
            initializer.const_value = ir.tensor(value.reshape(initializer.shape.numpy()), name=name)
        sessions[spec.name] = session_of(ir.to_proto(graph).SerializeToString())

    def run(graph: str, *tensors: Tensor) -> list[Tensor]:
        names = [given.name for given in sessions[graph].get_inputs()]
        feeds = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        return [torch.from_numpy(array) for array in sessions[graph].run(None, feeds)]

    return run


def close(actual: Tensor, expected: Tensor) -> bool:
    return actual.shape == expected.shape and bool((actual - expected).abs().max() <= NOISE * expected.abs().max())


def flat(pairs: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
    return [tensor for pair in pairs for tensor in pair]


@pytest.mark.parametrize("where", ["in_torch", "in_onnx"])
def test_parts_in_a_row_are_the_model(where: str, model: LlavaNext, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(where)
    processor = LlavaNextProcessor.from_folder(TINY)
    inputs = {name: torch.from_numpy(array) for name, array in processor("a <image> b <image>?", IMAGES).items()}
    cache, tail = KVCache(), torch.tensor([[7, 8, 9]])
    with torch.inference_mode():
        expected = model(**inputs, cache=cache)[:, -1:]
    layouts = [model.params.anyres.layout(*size) for size in inputs["image_sizes"].tolist()]
    views = torch.cat([one[: layout.num_views] for one, layout in zip(inputs["pixel_values"], layouts, strict=True)])
    newline = len(views) * model.params.anyres.patches**2
    first, second = layouts
    index = np.concatenate([first.feature_index(0, newline), second.feature_index(first.num_views, newline)])
    (features,) = run("vision_encoder", views, torch.from_numpy(index))
    (embeds,) = run("embed_tokens", inputs["input_ids"], features)
    logits, *past = run("decoder", embeds, inputs["attention_mask"], *flat(model.empty_past(embeds)))
    assert close(logits, expected)
    with torch.inference_mode():
        expected = model(tail, cache=cache)[:, -1:]
    (embeds,) = run("embed_tokens", tail, features[:0])
    mask = torch.ones(1, inputs["input_ids"].shape[1] + 3, dtype=torch.int64)
    logits, *past = run("decoder", embeds, mask, *past)
    assert close(logits, expected)
    assert all(close(actual, grown) for actual, grown in zip(past, flat(cache.layers), strict=True))


@pytest.mark.parametrize(
    ("module", "graph"),
    [
        ("multi_modal_projector.linear_1", "vision_encoder"),
        ("vision_tower.vision_model.encoder.layers.0.mlp.fc1", "vision_encoder"),
        ("language_model.model.embed_tokens", "embed_tokens"),
        ("language_model.model.layers.0.self_attn.q_proj", "decoder"),
        ("language_model.lm_head", "decoder"),
    ],
)
def test_every_layer_belongs_to_one_part(module: str, graph: str) -> None:
    assert SPLIT.owner(module) == graph
