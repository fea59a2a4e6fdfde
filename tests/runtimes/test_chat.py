"""A turn's answer is the answer to the whole conversation; what was computed before is not computed again."""

import pytest
from PIL import Image

from nexus_edge.bundle import Bundle
from nexus_edge.errors import ImageError, PromptError
from nexus_edge.runtimes import VLM, EngineOptions, GenerationOptions, load

RED, BLUE = (Image.new("RGB", (40, 30), color) for color in ("red", "blue"))
OPTIONS = GenerationOptions(max_new_tokens=8)


@pytest.fixture(scope="module")
def vlm(toy_bundle: Bundle) -> VLM:
    return load(toy_bundle, EngineOptions(threads=1))


def test_turns_with_images_equal_one_prompt(vlm: VLM, toy_bundle: Bundle) -> None:
    chat = vlm.chat(OPTIONS, system="Be brief.")
    first = "".join(chat.send("What is it?", [RED]))
    second = "".join(chat.send("And this?", [BLUE]))
    prompt = (
        f"<|system|>\nBe brief.<|end|>\n<|user|>\n<|image_1|>\nWhat is it?<|end|>\n<|assistant|>\n{first}<|end|>\n"
        "<|user|>\n<|image_2|>\nAnd this?<|end|>\n<|assistant|>\n"
    )
    fresh = load(toy_bundle, EngineOptions(threads=1))
    assert second == "".join(fresh.generate(prompt, [RED, BLUE], max_new_tokens=8, raw=True))
    assert [message["role"] for message in chat.messages] == ["system", "user", "assistant", "user", "assistant"]


def test_a_second_turn_reuses_the_first(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = vlm.chat(OPTIONS)
    list(chat.send("What is it?", [RED]))
    assert vlm.last_run is not None
    prompt_tokens = vlm.last_run.prompt_tokens
    monkeypatch.setattr(vlm.engine, "vision", None)  # the image is not encoded again
    list(chat.send("Why?"))
    assert vlm.last_run.reused_tokens >= prompt_tokens - 1


def test_reset_forgets_turns_and_images_but_not_the_system_message(vlm: VLM) -> None:
    chat = vlm.chat(OPTIONS, system="Be brief.")
    list(chat.send("What is it?", [RED]))
    chat.reset()
    assert [message["role"] for message in chat.messages] == ["system"]
    list(chat.send("Hi"))
    assert vlm.last_run is not None
    assert vlm.last_run.image_tokens == 0


def test_an_interrupted_answer_is_kept_as_far_as_it_came(vlm: VLM) -> None:
    chat = vlm.chat(OPTIONS)
    pieces = chat.send("Hi")
    shown = next(pieces)
    pieces.close()
    assert chat.messages[-1] == {"role": "assistant", "content": shown}
    assert "".join(chat.send("Go on"))


def test_a_turn_that_fails_is_as_if_it_was_not_sent(vlm: VLM) -> None:
    chat = vlm.chat(OPTIONS)
    list(chat.send("Hi"))
    before = chat.messages
    with pytest.raises(PromptError, match="the model's context"):
        chat.send("x" * 1000)
    with pytest.raises(ImageError, match="image 1 cannot be read"):
        chat.send("Hi", [b"no image"])
    assert chat.messages == before
    assert "".join(chat.send("Hi again"))
