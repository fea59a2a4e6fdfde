"""Answers are those of greedy decoding with the numpy decoder; options and interrupts do what they say."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toy_vlm
from phi3_prompts import encode
from PIL import Image

from nexus_edge.bundle import Bundle
from nexus_edge.engines.onnx.session import open_session
from nexus_edge.errors import ImageError, InputError, PromptError
from nexus_edge.runtimes import VLM, EngineOptions, load

RED, BLUE = (Image.new("RGB", (40, 30), color) for color in ("red", "blue"))


@pytest.fixture
def vlm(toy_bundle: Bundle) -> VLM:
    return load(toy_bundle, EngineOptions(threads=1))


def greedy(vlm: VLM, prompt: str, images: list[Image.Image], count: int) -> list[int]:
    """Ids of the answer, every one from a full run in numpy."""
    inputs = vlm.processor(prompt, images)
    ids = inputs["input_ids"][0]
    features = [toy_vlm.features_of(one) for one in inputs.get("pixel_values", [])]
    answer: list[int] = []
    while len(answer) < count:
        logits = toy_vlm.reference_logits(ids, np.concatenate(features) if features else None)
        top = np.sort(logits)[-2:]
        assert top[1] - top[0] > 0.01, "a near tie: rounding could decide it"
        token = int(logits.argmax())
        if token in vlm.processor.stop_ids:
            break
        answer.append(token)
        ids = np.append(ids, token)
    return answer


def test_the_greedy_answer_to_a_question_about_an_image(vlm: VLM) -> None:
    pieces = list(vlm.generate("What is it?", [RED], max_new_tokens=30))
    expected = greedy(vlm, "<|user|>\n<|image_1|>\nWhat is it?<|end|>\n<|assistant|>\n", [RED], 30)
    assert "".join(pieces) == vlm.processor.decode(expected)
    assert len(pieces) > 5, "the answer is streamed"
    assert all(pieces)


def test_two_images_and_the_rope_limit_on_the_way(vlm: VLM) -> None:
    prompt = "<|user|>\n<|image_1|>\n<|image_2|>\n" + "compare " * 6 + "<|end|>\n<|assistant|>\n"
    length = vlm.processor(prompt, [RED, BLUE])["input_ids"].shape[1]
    count = toy_vlm.ROPE_LIMIT - length + 5
    assert 5 < count < 60
    text = "".join(vlm.generate(prompt, [RED, BLUE], max_new_tokens=count, raw=True))
    assert text == vlm.processor.decode(greedy(vlm, prompt, [RED, BLUE], count))


def test_the_order_of_images_matters(vlm: VLM) -> None:
    prompt = "<|user|>\n<|image_1|>\n<|image_2|>\ncompare<|end|>\n<|assistant|>\n"
    assert list(vlm.generate(prompt, [RED, BLUE], max_new_tokens=9, raw=True)) != list(
        vlm.generate(prompt, [BLUE, RED], max_new_tokens=9, raw=True)
    )


@pytest.mark.parametrize(
    ("prompt", "images", "wrapped"),
    [
        ("Hi", 0, "<|user|>\nHi<|end|>\n<|assistant|>\n"),
        ("Hi", 2, "<|user|>\n<|image_1|>\n<|image_2|>\nHi<|end|>\n<|assistant|>\n"),
    ],
)
def test_a_bare_question_is_put_into_the_template(vlm: VLM, prompt: str, images: int, wrapped: str) -> None:
    assert str(vlm.wrap(prompt, images)) == wrapped


def test_counts_of_the_last_run(vlm: VLM) -> None:
    list(vlm.generate("one", [RED], max_new_tokens=4))
    first = vlm.last_run
    assert first is not None
    assert (first.image_tokens, first.reused_tokens, first.new_tokens, first.decode_steps) == (313, 0, 4, 3)
    assert first.finish == "length"
    assert first.vision_s > 0
    assert first.decode_tokens_per_s > 0
    list(vlm.generate("two", [RED], max_new_tokens=4))
    second = vlm.last_run
    assert second is not None
    assert second.reused_tokens >= 313, "the image was in the cache"


def test_an_image_is_encoded_once(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    vision, calls = vlm.engine.vision, []
    monkeypatch.setattr(vlm.engine, "vision", lambda: calls.append(1) or vision())
    list(vlm.generate("one", [RED], max_new_tokens=1))
    list(vlm.generate("two", [BLUE, RED.copy()], max_new_tokens=1))
    assert len(calls) == 2


def test_features_do_not_keep_the_vision_encoder_alive(vlm: VLM) -> None:
    """An array that ONNX Runtime returns holds on to the arena of its session; one that owns its data does not."""
    inputs = vlm.processor(vlm.wrap("Hi", 1), [RED])
    assert encode(vlm.engine, vlm.host, inputs["pixel_values"], inputs["image_sizes"]).flags.owndata


@pytest.mark.parametrize(("keep", "loads"), [(False, 2), (True, 1)])
def test_the_vision_encoder_is_loaded_for_each_image_or_kept(
    toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, keep: bool, loads: int
) -> None:
    opened: list[Path] = []

    def counted(path: Path, threads: int | None) -> object:
        opened.append(path)
        return open_session(path, threads)

    monkeypatch.setattr("nexus_edge.engines.onnx.session.open_session", counted)
    vlm = load(toy_bundle, EngineOptions(threads=1, keep_vision=keep))
    list(vlm.generate("one", [RED, BLUE], max_new_tokens=1))
    assert sum(path.stem == "vision_encoder" for path in opened) == loads


def test_a_stop_string_ends_the_answer_and_is_not_shown(vlm: VLM) -> None:
    whole = "".join(vlm.generate("Hi", max_new_tokens=30))
    stop = whole[10:13]
    assert "".join(vlm.generate("Hi", max_new_tokens=30, stop=[stop])) == whole[: whole.index(stop)]
    assert vlm.last_run is not None
    assert vlm.last_run.finish == "stop"
    assert "".join(vlm.generate("Hi", max_new_tokens=30, stop=stop)) == whole[: whole.index(stop)]


def test_a_stop_id_ends_the_answer(vlm: VLM) -> None:
    tokens = greedy(vlm, vlm.wrap("Hi", 0), [], 6)
    stops = VLM(vlm.engine, vlm.host, replace(vlm.processor, stop_ids=(tokens[5],)), vlm.limits)
    assert "".join(stops.generate("Hi", max_new_tokens=30)) == vlm.processor.decode(tokens[: tokens.index(tokens[5])])


def test_a_character_is_never_cut(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte of the text is a token of its own; no piece may hold a part of a character."""
    text = "añ€😀 ok"
    ids = iter([*vlm.processor.encode(text, add_bos=False), vlm.processor.stop_ids[0]])
    monkeypatch.setattr("nexus_edge.runtimes.vlm.sampling.Sampler.pick", lambda self, logits: next(ids))
    pieces = list(vlm.generate("Hi"))
    assert "".join(pieces) == text
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)


def test_seeds(vlm: VLM) -> None:
    def answer(seed: int) -> str:
        return "".join(vlm.generate("Hi", max_new_tokens=20, temperature=1.5, top_p=0.9, seed=seed))

    assert answer(1) == answer(1)
    assert answer(1) != answer(2)


def test_the_context_ends_the_answer(tmp_path: Path) -> None:
    vlm = load(toy_vlm.write_bundle(tmp_path / "toy", context=60), EngineOptions(threads=1))
    length = vlm.processor(vlm.wrap("Hi", 0))["input_ids"].shape[1]
    list(vlm.generate("Hi", max_new_tokens=500, temperature=9.0, seed=3))
    assert vlm.last_run is not None
    assert vlm.last_run.finish == "context"
    assert vlm.last_run.new_tokens == 60 - length


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"prompt": "x" * toy_vlm.CONTEXT}, PromptError, "the model's context 900"),
        ({"prompt": "look", "images": [RED] * 3}, PromptError, "the model's context 900"),
        ({"prompt": "<|user|>\n<|image_1|>", "images": [], "raw": True}, PromptError, "tags for 1 image, 0 given"),
        ({"prompt": "Hi", "images": [b"no image"]}, ImageError, "cannot be read"),
        ({"prompt": "Hi", "max_new_tokens": 0}, InputError, "max_new_tokens is 0"),
        ({"prompt": "Hi", "top_p": 2.0}, InputError, "top_p is 2.0"),
        ({"prompt": "Hi", "stop": [""]}, InputError, "a stop string is empty"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    vlm: VLM, arguments: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        vlm.generate(**arguments)


def test_a_tag_that_comes_twice_has_no_features(vlm: VLM) -> None:
    pieces = vlm.generate("<|user|>\n<|image_1|>\n<|image_1|>\nx<|end|>\n<|assistant|>\n", [RED], raw=True)
    with pytest.raises(PromptError, match="tag each image once"):
        next(pieces)


@pytest.mark.parametrize("stop", [lambda pieces: pieces.close(), lambda pieces: pieces.throw(KeyboardInterrupt)])
def test_an_interrupted_answer_leaves_the_model_usable(vlm: VLM, stop: Callable[[object], None]) -> None:
    whole = list(vlm.generate("Hi", max_new_tokens=20))
    pieces = vlm.generate("Hello there", max_new_tokens=20)
    next(pieces)
    with contextlib.suppress(KeyboardInterrupt):
        stop(pieces)
    assert vlm.last_run is not None
    assert vlm.last_run.finish == "interrupted"
    assert list(vlm.generate("Hi", max_new_tokens=20)) == whole
