"""Every family: the graphs of its split declare what they take and give in PyTorch, and its host goes between them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_families import EXPORTED, Tiny

from nexus_edge import processing
from nexus_edge.bundle import TensorSpec
from nexus_edge.families import families
from nexus_edge.interfaces.engine import Array
from nexus_edge.interfaces.family import VlmFamily
from nexus_edge.interfaces.host import VlmHost
from nexus_edge.interfaces.processor import ModelInputs

SIZES = ((448, 224), (97, 203))
PAST, PRESENT = "past_key_values", "present"
VLMS = [name for name in EXPORTED if families()[name].kind == "vlm"]
DUALS = [name for name in EXPORTED if families()[name].kind == "dual_encoder"]


def image(width: int, height: int) -> Image.Image:
    levels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(levels)


def run(tiny: Tiny, graph: str, values: Mapping[str, Array]) -> dict[str, Array]:
    """A graph in PyTorch on its inputs by name, both held against what it declares."""
    spec = tiny.graphs[graph]
    sizes: dict[str, int] = {}
    require_declared(spec.inputs, [values[tensor.name] for tensor in spec.inputs], sizes)
    with torch.inference_mode():
        result = spec.module(*(torch.from_numpy(np.array(values[tensor.name])) for tensor in spec.inputs))
    outputs = [value.numpy() for value in (result if isinstance(result, tuple) else (result,))]
    require_declared(spec.outputs, outputs, sizes)
    assert all(np.isfinite(value).all() for value in outputs)
    return dict(zip((tensor.name for tensor in spec.outputs), outputs, strict=True))


def require_declared(specs: Sequence[TensorSpec], values: Sequence[Array], sizes: dict[str, int]) -> None:
    """Types and shapes; a size of one name is the same number in all of a call."""
    assert len(specs) == len(values)
    for spec, value in zip(specs, values, strict=True):
        assert (str(value.dtype), value.ndim) == (spec.dtype, len(spec.shape)), spec.name
        for declared, size in zip(spec.shape, value.shape, strict=True):
            expected = sizes.setdefault(declared, size) if isinstance(declared, str) else declared
            assert size == expected, f"{spec.name}: {declared} is {size}, expected {expected}"


def empty_caches(tiny: Tiny, graph: str) -> dict[str, Array]:
    """Of no tokens, for one sequence."""
    zeros = {"batch": 1, "past": 0}
    return {
        tensor.name: np.zeros([zeros[size] if isinstance(size, str) else size for size in tensor.shape], np.float32)
        for tensor in tiny.graphs[graph].inputs
        if tensor.name.startswith(PAST)
    }


def asked(tiny: Tiny, size: tuple[int, int]) -> ModelInputs:
    processor = processing.from_checkpoint(tiny.folder)
    content = [{"type": "image"}, {"type": "text", "text": "What is shown here?"}]
    return processor(processor.apply_chat_template([{"role": "user", "content": content}]), image(*size))


def host_of(tiny: Tiny) -> VlmHost:
    assert isinstance(tiny.family, VlmFamily)
    return tiny.family.host(tiny.checkpoint.config, tiny.interfaces, tiny.folder)


@pytest.mark.parametrize("model_type", [name for name, family in families().items() if family.kind == "vlm"])
def test_the_context_of_a_configuration_is_the_models(tiny: Tiny) -> None:
    """Read without torch, at each load; the key may be absent, alone or in the object of the decoder."""
    assert isinstance(tiny.family, VlmFamily)
    config = tiny.checkpoint.config
    inner = config.get("text_config") or {}
    without = {key: value for key, value in config.items() if key != "max_position_embeddings"}
    if inner:
        less = {key: value for key, value in inner.items() if key != "max_position_embeddings"}
        without["text_config"] = less
    for given in (config, without):
        with torch.device("meta"):
            longest = tiny.family.build(given).context_length
        assert tiny.family.context_length(given) == longest


@pytest.mark.parametrize("model_type", EXPORTED)
def test_every_weight_belongs_to_one_graph_of_the_split(tiny: Tiny) -> None:
    split = tiny.family.split()
    assert tuple(tiny.graphs) == split.names
    owners = {split.owner(name.rpartition(".")[0]) for name, _ in tiny.model.named_parameters()}
    assert owners == set(split.names)
    assert all(spec.module.root is tiny.model for spec in tiny.graphs.values())


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("model_type", VLMS)
def test_a_prompt_and_one_more_token_go_through_the_graphs_as_declared(tiny: Tiny, size: tuple[int, int]) -> None:
    inputs, host = asked(tiny, size), host_of(tiny)
    vision, embed, decoder = tiny.graphs
    cases, processor = tiny.family.parity(), processing.from_checkpoint(tiny.folder)
    seen = cases.vision_inputs(processor, inputs["pixel_values"], inputs["image_sizes"])
    features = run(tiny, vision, seen)["image_features"]
    ids = host.prompt(inputs).ids[None]
    embeds = run(tiny, embed, {"input_ids": inputs["input_ids"], "image_features": features})["inputs_embeds"]
    mask = np.ones_like(ids)
    grown = run(tiny, decoder, {"inputs_embeds": embeds, "attention_mask": mask, **empty_caches(tiny, decoder)})
    again = {name: grown[name.replace(PAST, PRESENT)] for name in empty_caches(tiny, decoder)}
    next_id = grown["logits"][0].argmax(-1, keepdims=True)
    embeds = run(tiny, embed, {"input_ids": next_id, "image_features": features[:0]})["inputs_embeds"]
    mask = np.ones((1, ids.size + 1), np.int64)
    last = run(tiny, decoder, {"inputs_embeds": embeds, "attention_mask": mask, **again})
    assert all(last[name.replace(PAST, PRESENT)].shape[2] == ids.size + 1 for name in again)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("model_type", VLMS)
def test_the_host_says_where_features_go_and_makes_as_many(tiny: Tiny, size: tuple[int, int]) -> None:
    inputs, host = asked(tiny, size), host_of(tiny)
    prompt = host.prompt(inputs)
    tokens = prompt.ids.size
    assert (prompt.ids.dtype, prompt.ids.shape, prompt.is_image.dtype) == (np.int64, (tokens,), np.bool_)
    assert tokens == inputs["input_ids"].size and prompt.is_image.shape == (tokens,)
    assert prompt.ids.min() >= 0 and prompt.ids.max() < tiny.model.vocab_size, "the token embedding takes them all"
    assert np.array_equal(prompt.ids[~prompt.is_image], inputs["input_ids"][0][~prompt.is_image]), "text is text"
    (one,) = prompt.images
    processor = processing.from_checkpoint(tiny.folder)
    assert int(prompt.is_image.sum()) == processor.count_image_tokens(*size)
    assert 1 <= host.views(one) <= processor.most_views + 1 and host.merge in ("replace", "add")
    features = host.encode(lambda graph, values: run(tiny, graph, values), one)
    assert (features.dtype, len(features)) == (np.float32, prompt.is_image.sum())


@pytest.mark.parametrize("model_type", VLMS)
def test_positions_of_an_answer_follow_those_of_the_prompt(tiny: Tiny) -> None:
    host = host_of(tiny)
    prompt, scheme = host.prompt(asked(tiny, SIZES[0])), host.positions
    tokens, positions = prompt.ids.size, scheme.of_prompt(prompt)
    assert positions.dtype == np.int64 and positions.shape[1] == tokens
    assert np.array_equal(scheme.between(positions, 0, tokens), positions)
    beyond = scheme.between(positions, tokens - 1, tokens + 3)
    assert beyond.shape == (len(positions), 4)
    assert (np.diff(beyond[:, 1:], axis=1) == 1).all(), "text goes on by one on every axis"
    assert np.array_equal(scheme.between(positions, tokens, tokens + 3), beyond[:, 1:])
    regimes = [scheme.regime(length) for length in (1, 10, 1000, tiny.model.context_length)]
    assert regimes == sorted(regimes)


@pytest.mark.parametrize("model_type", DUALS)
def test_images_and_texts_go_through_the_towers_as_declared(tiny: Tiny) -> None:
    processor = processing.dual_from_checkpoint(tiny.folder)
    for count in (1, 3):
        pixels = processor.images([image(*size) for size in (*SIZES, *SIZES)[:count]])
        texts = processor.texts(["one", "and two", "and three of them"][:count])
        for graph, inputs in zip(tiny.graphs, ({"pixel_values": pixels}, {"input_ids": texts}), strict=True):
            (rows,) = run(tiny, graph, inputs).values()
            assert rows.shape[0] == count
            np.testing.assert_allclose(np.linalg.norm(rows, axis=-1), 1, atol=1e-5)  # float32 sums of 48 squares


@pytest.mark.parametrize("model_type", [name for name in families() if "static" in families()[name].flavours])
def test_a_family_with_graphs_of_fixed_sizes_has_them(model_type: str) -> None:
    assert families()[model_type].static_split() is not None
