"""Exported graphs in ONNX Runtime compute what their modules compute in torch, and what the original recorded."""

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exported_phi3 import Exported, rms
from golden_phi3 import Case
from onnx_sessions import session_of
from torch import Tensor
from torch.nn.functional import pad

RECIPES = ["fp32", "int4"]
NOISE = 1e-5  # of the largest value, for float32: sums in another order, see tests/models/test_phi3_v_stages.py
Exports = Callable[[str], Exported]


def close(actual: Tensor, expected: Tensor, noise: float = NOISE) -> bool:
    return actual.shape == expected.shape and bool((actual - expected).abs().max() <= noise * expected.abs().max())


def assert_same(bundle: Exported, graph: str, *tensors: Tensor) -> list[Tensor]:
    """Compare a graph's outputs, and return those of torch."""
    actual, expected = bundle.onnx(graph, *tensors), bundle.torch(graph, *tensors)
    assert [output.shape for output in actual] == [output.shape for output in expected]
    if bundle.is_quantized:
        assert rms(actual[0] - expected[0]) <= bundle.noise(graph, *tensors)
    else:
        assert all(close(a, e) for a, e in zip(actual, expected, strict=True))
    return expected


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(shape[0]))


def ones(batch: int, total: int) -> Tensor:
    return torch.ones(batch, total, dtype=torch.int64)


def empty_past(bundle: Exported, embeds: Tensor) -> list[Tensor]:
    return [tensor for pair in bundle.model.empty_past(embeds) for tensor in pair]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    ("crops", "sizes"),
    [
        pytest.param(2, [[336, 336]], id="one crop"),
        pytest.param(5, [[336, 1344], [672, 672]], id="4 crops"),
        pytest.param(17, [[336, 5376], [5376, 336], [672, 336]], id="16 in a row, 16 in a column, few"),
    ],
)
def test_vision(recipe: str, crops: int, sizes: list[list[int]], exported: Exports) -> None:
    pixels = random(len(sizes), crops, 3, 336, 336)
    for image, (height, width) in zip(pixels, sizes, strict=True):
        image[height // 336 * (width // 336) + 1 :] = torch.nan  # padding: must not be looked at
    features = assert_same(exported(recipe), "vision_encoder", pixels, torch.tensor(sizes))[0]
    assert features.isfinite().all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_embed(recipe: str, exported: Exports) -> None:
    """A gather on both sides: equal to the bit, also where rows are dequantized."""
    bundle = exported(recipe)
    for ids, features in (
        (Case("img1").input_ids, random(313, 96)),
        (torch.tensor([[-1, 7, -1, 511], [9, -2, -2, 0]]), random(4, 96)),
        (Case("text").input_ids, random(1, 96)[:0]),
        (torch.tensor([[3]]), random(1, 96)[:0]),
    ):
        assert torch.equal(
            bundle.onnx("embed_tokens", ids, features)[0], bundle.torch("embed_tokens", ids, features)[0]
        )


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    ("batch", "calls"),
    [
        pytest.param(1, (40, 1, 1), id="decode"),
        pytest.param(1, (30, 10, 3), id="several tokens after a past"),
        pytest.param(3, (20, 1, 1), id="batch"),
        pytest.param(1, (1,), id="one token"),
        pytest.param(1, (1030, 1), id="beyond the limit of LongRoPE"),
    ],
)
def test_decoder(recipe: str, batch: int, calls: tuple[int, ...], exported: Exports) -> None:
    bundle, embeds, total = exported(recipe), random(batch, sum(calls), 96), 0
    past = empty_past(bundle, embeds)
    for tokens in calls:
        arguments = (embeds[:, total : total + tokens], ones(batch, total + tokens), *past)
        total += tokens
        _, *past = assert_same(bundle, "decoder", *arguments)
        _, key, value, *_ = bundle.onnx("decoder", *arguments)
        # Before the first rounding boundary can be crossed twice, quantized graphs are as exact as the others.
        assert close(key, past[0])
        assert close(value, past[1])


@pytest.mark.parametrize("recipe", RECIPES)
def test_zeros_after_the_mask_announce_a_long_prompt(recipe: str, exported: Exports) -> None:
    """All pieces of a long prompt must use the list for long sequences; the first ones learn of it from the mask."""
    bundle, embeds = exported(recipe), random(1, 1030, 96)
    arguments = (embeds, ones(1, 1030), *empty_past(bundle, embeds))
    whole = bundle.torch("decoder", *arguments)
    # The kernel takes a mask beyond the present tokens where the cache has room for it.
    past = [torch.zeros(1, 4, 1030, 24) for _ in whole[1:]]
    for start, end in pairwise((0, 500, 1000, 1030)):
        mask = pad(ones(1, end), (0, 1030 - end))
        logits, *past = bundle.onnx("decoder", embeds[:, start:end], mask, *past)
    assert rms(logits - whole[0]) <= (
        bundle.noise("decoder", *arguments) if recipe == "int4" else NOISE * rms(whole[0])
    )
    assert close(past[0], whole[1])
    assert close(past[1], whole[2])
    _, key, *_ = bundle.onnx("decoder", embeds[:, :500], ones(1, 500), *empty_past(bundle, embeds))
    assert not close(key, whole[1][:, :, :500], 1e-2)  # the two lists do differ


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_cache_that_grows_in_place(recipe: str, exported: Exports) -> None:
    """One buffer is bound as past and as present, longer than what is used of it; the mask says how much that is."""
    bundle, embeds, room = exported(recipe), random(1, 31, 96), 64
    session = bundle.sessions["decoder"]
    specs = bundle.specs["decoder"]
    names = [(i.name, o.name) for i, o in zip(specs.inputs[2:], specs.outputs[1:], strict=True)]
    shared = [onnxruntime.OrtValue.ortvalue_from_numpy(np.full((1, 4, room, 24), 7.0, np.float32)) for _ in names]
    past = empty_past(bundle, embeds)
    for start, end in pairwise((0, 25, 26, 30, 31)):
        binding = session.io_binding()
        binding.bind_cpu_input("inputs_embeds", embeds[:, start:end].contiguous().numpy())
        binding.bind_cpu_input("attention_mask", ones(1, end).numpy())
        binding.bind_output("logits")
        for (before, after), value in zip(names, shared, strict=True):
            binding.bind_ortvalue_input(before, value)
            binding.bind_ortvalue_output(after, value)
        session.run_with_iobinding(binding)
        logits = torch.from_numpy(binding.get_outputs()[0].numpy())
        expected, *past = bundle.onnx("decoder", embeds[:, start:end].contiguous(), ones(1, end), *past)
        assert close(logits, expected)
        for value, grown in zip(shared, past, strict=True):
            held = torch.from_numpy(value.numpy())
            assert close(held[:, :, :end], grown)
            assert (held[:, :, end:] == 7.0).all()


def test_images_and_greedy_steps_of_the_original(exported: Exports) -> None:
    """The three graphs in a row, against what the original recorded."""
    bundle, case = exported("fp32"), Case("img1")
    recorded = case.stages
    features = bundle.onnx("vision_encoder", case.pixel_values, case.image_sizes)[0]
    assert close(features[recorded["img_feature_rows"]], recorded["img_features_proj"])
    embeds = bundle.onnx("embed_tokens", case.input_ids, features)[0]
    assert close(embeds[:, recorded["rows"]], recorded["inputs_embeds"])
    total, steps = embeds.shape[1], []
    logits, *past = bundle.onnx("decoder", embeds, ones(1, total), *empty_past(bundle, embeds))
    assert close(past[0][:, :, recorded["rows"]], recorded["kcache_layer0"])
    for id_ in recorded["decode_ids"]:
        steps.append(logits[0, 0])
        total += 1
        embeds = bundle.onnx("embed_tokens", id_.view(1, 1), features[:0])[0]
        logits, *past = bundle.onnx("decoder", embeds, ones(1, total), *past)
    assert close(torch.stack(steps), recorded["decode_logits"])


def test_layers_have_names_and_the_values_of_the_original(exported: Exports, tmp_path: Path) -> None:
    bundle, case = exported("fp32"), Case("img1")
    recorded = case.stages
    vision, decoder = "model.vision_embed_tokens.img_processor.vision_model.encoder.layers", "model.layers"
    features = bundle.torch("vision_encoder", case.pixel_values, case.image_sizes)[0]
    embeds = bundle.torch("embed_tokens", case.input_ids, features)[0]
    runs = {
        "vision_encoder": ([f"{vision}.{i}.output" for i in range(2)], [case.pixel_values, case.image_sizes]),
        "decoder": (
            [f"{decoder}.{i}.output" for i in range(3)],
            [embeds, case.attention_mask, *empty_past(bundle, embeds)],
        ),
    }
    values: dict[str, Tensor] = {}
    for graph, (names, tensors) in runs.items():
        session = session_with(bundle.root / "onnx", graph, names, tmp_path)
        feed = {
            spec.name: tensor.detach().numpy() for spec, tensor in zip(bundle.specs[graph].inputs, tensors, strict=True)
        }
        values |= {name: torch.from_numpy(value) for name, value in zip(names, session.run(names, feed), strict=True)}
    for i in range(2):
        assert close(values[f"{vision}.{i}.output"][:, recorded["clip_rows"]], recorded[f"clip_layer_out_{i}"])
    for i in range(3):
        assert close(values[f"{decoder}.{i}.output"][:, recorded["rows"]], recorded[f"layer_out_{i}"])


def session_with(folder: Path, graph: str, names: list[str], tmp_path: Path) -> onnxruntime.InferenceSession:
    """A session of the graph whose inner values `names` are outputs too."""
    model = onnx.load(folder / f"{graph}.onnx", load_external_data=False)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    shutil.copy(folder / f"{graph}.safetensors", tmp_path)
    onnx.save(model, tmp_path / f"{graph}.onnx")
    return session_of(tmp_path / f"{graph}.onnx")
