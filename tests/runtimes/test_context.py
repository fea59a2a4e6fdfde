"""What is reused, chunked and recomputed never shows in the logits: they are those of a run from scratch in numpy."""

from pathlib import Path

import numpy as np
import pytest
import toy_vlm
from phi3_prompts import host_up_to, with_features
from toy_vlm import ROPE_LIMIT, reference_logits

from nexus_edge.bundle import Bundle
from nexus_edge.engines.onnx.decoder import OnnxDecoder
from nexus_edge.engines.onnx.engine import OnnxEngine
from nexus_edge.errors import PromptError
from nexus_edge.runtimes import EngineOptions
from nexus_edge.runtimes.vlm.context import CHUNK, Context, Tokens

# Logits are around 10; float32 sums of up to 900 terms in another order move them by 1e-5 of that.
CLOSE = {"rtol": 0, "atol": 1e-3}


@pytest.fixture
def decoder(toy_bundle: Bundle) -> OnnxDecoder:
    return OnnxEngine(toy_bundle, EngineOptions(threads=1)).decoder()


@pytest.fixture
def context(decoder: OnnxDecoder) -> Context:
    return Context(decoder, host_up_to(ROPE_LIMIT))


def ids(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 300, count)


def text(tokens: np.ndarray) -> Tokens:
    return with_features(tokens, [])


def test_the_two_lists_of_frequencies_differ_where_these_tests_look(monkeypatch: pytest.MonkeyPatch) -> None:
    short = reference_logits(ids(ROPE_LIMIT))
    monkeypatch.setattr(toy_vlm, "ROPE_LIMIT", ROPE_LIMIT - 1)
    assert np.abs(reference_logits(ids(ROPE_LIMIT)) - short).max() > 100 * CLOSE["atol"]


@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, ROPE_LIMIT, ROPE_LIMIT + 1, ROPE_LIMIT + 60])
def test_prefill_in_chunks_equals_a_run_from_scratch(context: Context, length: int) -> None:
    logits, reused = context.load(text(ids(length)))
    np.testing.assert_allclose(logits, reference_logits(ids(length)), **CLOSE)
    assert reused == 0


def test_appended_tokens_cross_the_rope_limit_like_a_fresh_run(context: Context) -> None:
    tokens = ids(ROPE_LIMIT + 3)
    start = ROPE_LIMIT - 3
    context.load(text(tokens[:start]))
    for length in range(start + 1, len(tokens) + 1):
        logits = context.append(int(tokens[length - 1]))
        np.testing.assert_allclose(logits, reference_logits(tokens[:length]), **CLOSE)


def test_a_shared_prefix_is_reused(context: Context) -> None:
    first, second = ids(300), ids(320)
    second[290:] = ids(30, seed=1)
    second[290] = first[290] + 1
    context.load(text(first))
    logits, reused = context.load(text(second))
    assert reused == 290
    np.testing.assert_allclose(logits, reference_logits(second), **CLOSE)


def test_appended_tokens_are_part_of_the_prefix(context: Context) -> None:
    tokens = ids(40)
    context.load(text(tokens[:30]))
    for token in tokens[30:35]:
        context.append(int(token))
    assert context.load(text(tokens))[1] == 35


def test_the_same_prompt_again_computes_one_token(context: Context) -> None:
    context.load(text(ids(50)))
    logits, reused = context.load(text(ids(50)))
    assert reused == 49
    np.testing.assert_allclose(logits, reference_logits(ids(50)), **CLOSE)


def test_a_shorter_prompt_goes_back_to_a_prefix(context: Context) -> None:
    context.load(text(ids(400)))
    logits, reused = context.load(text(ids(120)))
    assert reused == 119
    np.testing.assert_allclose(logits, reference_logits(ids(120)), **CLOSE)


@pytest.mark.parametrize(("before", "after"), [(ROPE_LIMIT, ROPE_LIMIT + 1), (ROPE_LIMIT + 1, ROPE_LIMIT - 9)])
def test_a_cache_of_one_list_is_not_reused_for_the_other(context: Context, before: int, after: int) -> None:
    context.load(text(ids(before)))
    logits, reused = context.load(text(ids(after)))
    assert reused == 0
    np.testing.assert_allclose(logits, reference_logits(ids(after)), **CLOSE)


def test_a_long_prompt_reuses_a_long_cache_below_the_limit(context: Context) -> None:
    first, second = ids(ROPE_LIMIT + 50), ids(ROPE_LIMIT + 80)
    second[100:] = ids(len(second) - 100, seed=1)
    second[100] = first[100] + 1
    context.load(text(first))
    logits, reused = context.load(text(second))
    assert reused == 100
    np.testing.assert_allclose(logits, reference_logits(second), **CLOSE)


def test_without_a_rope_limit_nothing_is_recomputed(decoder: OnnxDecoder) -> None:
    context = Context(decoder, host_up_to(None))
    context.load(text(ids(ROPE_LIMIT)))
    assert context.load(text(ids(ROPE_LIMIT + 40)))[1] == ROPE_LIMIT


def image_prompt(shift: float) -> tuple[np.ndarray, Tokens, np.ndarray]:
    tokens = np.concatenate((ids(5), np.full(313, -1), ids(9, seed=2)))
    features = toy_vlm.features_of(np.float32([shift]))
    return tokens, with_features(tokens, [(str(shift).encode() * 8, features)]), features


def test_another_image_at_the_same_place_is_not_taken_for_the_first(context: Context) -> None:
    _, first, _ = image_prompt(0.25)
    written, second, features = image_prompt(0.5)
    context.load(first)
    logits, reused = context.load(second)
    assert reused == 5
    np.testing.assert_allclose(logits, reference_logits(written, features), **CLOSE)
    assert context.load(second)[1] == len(second) - 1


def test_a_prefix_may_end_inside_an_image(context: Context) -> None:
    written, tokens, features = image_prompt(0.25)
    context.load(with_features(written[:100], [(b"0.25" * 8, features[:95])]))
    logits, reused = context.load(tokens)
    assert reused == 100
    np.testing.assert_allclose(logits, reference_logits(written, features), **CLOSE)


def test_places_and_features_must_match() -> None:
    with pytest.raises(PromptError, match="626 positions for image tokens, its images give 313"):
        with_features(np.full(626, -1), [(b"12345678", np.zeros((313, 4), np.float32))])


@pytest.mark.parametrize("interrupted_call", [1, 2])
def test_an_interrupt_costs_only_the_unfinished_call(
    decoder: OnnxDecoder, monkeypatch: pytest.MonkeyPatch, interrupted_call: int
) -> None:
    context, extend, calls = Context(decoder, host_up_to(ROPE_LIMIT)), decoder.extend, []

    def interrupted(*args: object, **named: object) -> np.ndarray:
        calls.append(args)
        logits = extend(*args, **named)
        if len(calls) == interrupted_call:  # the decoder has already written its keys
            raise KeyboardInterrupt
        return logits

    context.load(text(ids(60, seed=3)))
    monkeypatch.setattr(decoder, "extend", interrupted)
    with pytest.raises(KeyboardInterrupt):
        context.load(text(ids(600)))
    logits, reused = context.load(text(ids(600)))
    assert reused == (interrupted_call - 1) * CHUNK
    np.testing.assert_allclose(logits, reference_logits(ids(600)), **CLOSE)


def test_after_an_interrupt_the_overwritten_prompt_is_not_taken_for_cached(
    decoder: OnnxDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, extend = Context(decoder, host_up_to(ROPE_LIMIT)), decoder.extend

    def interrupted(*args: object, **named: object) -> np.ndarray:
        extend(*args, **named)
        raise KeyboardInterrupt

    old = ids(60, seed=3)
    context.load(text(old))
    with monkeypatch.context() as patch:
        patch.setattr(decoder, "extend", interrupted)
        with pytest.raises(KeyboardInterrupt):
            context.load(text(ids(100)))
    np.testing.assert_allclose(context.load(text(old))[0], reference_logits(old), **CLOSE)


def test_an_int8_cache_holds_rounded_keys_and_values(tmp_path: Path) -> None:
    bundle = toy_vlm.write_bundle(tmp_path / "toy", cache="int8")
    decoder = OnnxEngine(bundle, EngineOptions(threads=1)).decoder()
    logits, _ = Context(decoder, host_up_to(ROPE_LIMIT)).load(text(ids(300)))
    # A value that lies between two codes may be rounded the other way, which is one step (0.05) in one of 19,200.
    np.testing.assert_allclose(logits, reference_logits(ids(300), cache="int8"), rtol=0, atol=0.05)
    assert np.abs(logits - reference_logits(ids(300))).max() > 0.5, "the cache was not quantized at all"
    assert decoder.cache_bytes == 2 * toy_vlm.LAYERS * toy_vlm.HIDDEN * 768, "twice 300 tokens, in blocks of 256"
