"""An answer as a whole, as a stream, and in an event loop: the same text, counts and log probabilities."""

import asyncio
import copy
import gc
import pickle
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import toy_vlm

from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError, InputError, PromptError
from nexus_edge.runtimes import VLM, EngineOptions, GenerationOptions, load_vlm
from nexus_edge.runtimes.vlm.answer import token_logprob

HANG_S = 120  # for what would never end


@pytest.fixture
def vlm(toy_bundle: Bundle) -> Iterator[VLM]:
    with load_vlm(toy_bundle, EngineOptions(threads=1)) as model:
        yield model


def test_whole_and_streamed(vlm: VLM) -> None:
    whole = vlm.answer("Hi", max_new_tokens=8)
    stream = vlm.generate("Hi", max_new_tokens=8)
    with pytest.raises(InputError, match="not complete"):
        _ = stream.answer
    assert "".join(stream) == whole.text == stream.answer.text
    assert (whole.finish, whole.new_tokens, whole.logprobs) == ("length", 8, None)
    assert whole.prompt_tokens == vlm.processor(vlm.wrap("Hi", 0))["input_ids"].shape[1]
    assert stream.answer.run.reused_tokens == whole.prompt_tokens - 1


def test_log_probabilities_are_those_of_the_reference(vlm: VLM) -> None:
    """Of the numpy decoder's logits at each place, by a softmax of its own."""
    answer = vlm.answer("Hi", max_new_tokens=5, temperature=2.0, seed=1, logprobs=3)
    assert answer.logprobs is not None
    ids = vlm.processor(vlm.wrap("Hi", 0))["input_ids"][0]
    for token in answer.logprobs:
        logits = toy_vlm.reference_logits(ids).astype(np.float64)
        expected = np.log(np.exp(logits) / np.exp(logits).sum())
        order = np.argsort(-expected)[:3]
        assert [other.id for other in token.top] == order.tolist()
        # Logits are around 10; float32 sums in another order move them by 1e-4, as in test_context.py
        np.testing.assert_allclose([other.logprob for other in token.top], expected[order], rtol=0, atol=1e-3)
        np.testing.assert_allclose(token.logprob, expected[token.id], rtol=0, atol=1e-3)
        ids = np.append(ids, token.id)
    assert "".join(token.text for token in answer.logprobs) == answer.text
    assert vlm.answer("Hi", max_new_tokens=2, logprobs=0).logprobs is not None


def test_log_probabilities_of_logits_that_would_overflow() -> None:
    found = token_logprob(np.float32([1000, 1000, -1000]), 2, 5, str)
    assert [token.logprob for token in found.top] == pytest.approx([-np.log(2), -np.log(2), -2000 - np.log(2)])
    assert found.logprob == found.top[2].logprob


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 3}, "no option 'max_tokens'; did you mean 'max_new_tokens'"),
        ({"logprobs": -1}, "logprobs is -1"),
        ({"top_k": -1}, "top_k is -1"),
        ({"min_p": 1.5}, "min_p is 1.5"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
    ],
)
def test_options_are_checked_before_anything_runs(vlm: VLM, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        vlm.generate("Hi", **options)


def test_cancelling_between_parts_of_a_prompt(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """600 tokens are three parts; what was computed of them stays."""
    stream = vlm.generate("x" * 590, max_new_tokens=5)
    decoder_class = type(vlm.engine.decoder())
    extend, calls = decoder_class.extend, []

    def counted(*arguments: object, **named: object) -> np.ndarray:
        calls.append(arguments)
        if len(calls) == 2:
            threading.Thread(target=stream.cancel).run()
        return extend(*arguments, **named)

    monkeypatch.setattr(decoder_class, "extend", counted)
    assert stream.finish().finish == "cancelled"
    assert (stream.answer.text, len(calls)) == ("", 2)
    assert vlm.answer("x" * 590, max_new_tokens=5).run.reused_tokens == 512


def test_a_second_thread_cannot_take_pieces_of_the_same_answer(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, busy = vlm.generate("Hi", max_new_tokens=5), []
    pick = type(vlm.processor).decode

    def in_another_thread() -> None:
        with pytest.raises(InputError, match="another thread") as raised:
            next(stream)
        busy.append(raised)
        stream.close()  # is a cancellation then

    def meanwhile(*arguments: object, **named: object) -> str:
        if not busy:
            thread = threading.Thread(target=in_another_thread)
            thread.start()
            thread.join(HANG_S)
        return pick(*arguments, **named)

    monkeypatch.setattr(type(vlm.processor), "decode", meanwhile)
    stream = vlm.generate("Hi", max_new_tokens=5, logprobs=0)
    assert stream.finish().finish == "cancelled"
    assert busy


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_model_that_would_be_copied_says_what_to_do(toy_bundle: Bundle, copied: Callable[[object], object]) -> None:
    with load_vlm(toy_bundle) as vlm, pytest.raises(TypeError, match="load the bundle in each process"):
        copied(vlm)


def test_a_closed_model_says_so(toy_bundle: Bundle) -> None:
    with load_vlm(toy_bundle, EngineOptions(threads=1)) as model:
        kept, session = model.generate("Hi", max_new_tokens=50), model.session()
        next(kept)
    for ask in (lambda: next(kept), lambda: model.answer("Hi"), lambda: session.answer("Hi")):
        with pytest.raises(InputError, match="this model is closed; load it again"):
            ask()
    model.close()


def test_two_turns_of_one_conversation_at_once(vlm: VLM) -> None:
    chat = vlm.chat(GenerationOptions(max_new_tokens=6))
    first, stale = chat.send("Hi"), chat.send("Hi")
    next(first)
    with pytest.raises(InputError, match="still being made"):
        chat.send("And?")
    with pytest.raises(InputError, match="still being made"):
        next(stale)
    said = first.finish().text
    assert [message["role"] for message in chat.messages] == ["user", "assistant"]
    assert chat.messages[1]["content"] == said
    late = chat.send("One")
    chat.send("Two").finish()
    with pytest.raises(InputError, match="went on since"):
        next(late)
    assert len(chat.messages) == 4


def run(work: Callable[[], object]) -> object:
    return asyncio.run(asyncio.wait_for(work(), HANG_S))


def test_the_event_loop_goes_on(vlm: VLM) -> None:
    expected = vlm.answer("Hi", max_new_tokens=30).text

    async def work() -> None:
        ticks, pieces = 0, []

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        stream = vlm.agenerate("Hi", max_new_tokens=30)
        async for piece in stream:
            pieces.append(piece)
        assert "".join(pieces) == expected == stream.answer.text
        assert ticks > 10
        ticking.cancel()
        assert (await vlm.aanswer("Hi", max_new_tokens=30)).text == expected
        answers = await asyncio.gather(*(vlm.aanswer(text, max_new_tokens=9) for text in "abcdef"))
        assert [answer.text for answer in answers] == [vlm.answer(text, max_new_tokens=9).text for text in "abcdef"]
        assert (await vlm.chat(GenerationOptions(max_new_tokens=30)).asend("Hi").finish()).text == expected

    run(work)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "nexus-edge answer"]


@pytest.mark.parametrize("how", ["task", "closed", "forgotten"])
def test_nobody_awaits_the_rest(vlm: VLM, how: str) -> None:
    """The thread ends, long before the answer would."""
    expected = vlm.answer("Hi", max_new_tokens=5).text

    async def work() -> None:
        stream = vlm.agenerate("Hi", max_new_tokens=800, temperature=1.0)
        await anext(stream)
        if how == "task":
            task = asyncio.create_task(stream.finish())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif how == "closed":
            await stream.aclose()
            assert stream.answer.finish == "cancelled"
        del stream
        gc.collect()
        while threads():
            await asyncio.sleep(0.01)

    run(work)
    assert vlm.answer("Hi", max_new_tokens=5).text == expected


def test_errors_of_the_thread_are_raised_where_the_answer_is_awaited(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    async def too_long() -> None:
        with pytest.raises(PromptError, match="the model's context"):
            await vlm.aanswer("x" * 2000)

    async def damaged() -> None:
        with pytest.raises(BundleError, match="NaN"):
            await vlm.aanswer("Hi")

    run(too_long)
    nan = np.full(400, np.nan, np.float32)
    monkeypatch.setattr(type(vlm.engine.decoder()), "extend", lambda *arguments, **named: nan)
    run(damaged)


def test_a_wait_shows_in_the_counts(toy_bundle: Bundle) -> None:
    model = load_vlm(toy_bundle, EngineOptions(threads=1, sessions=1))
    kept, started = model.generate("Hi", max_new_tokens=3), time.perf_counter()
    next(kept)
    waited: list[float] = []
    thread = threading.Thread(target=lambda: waited.append(model.answer("Hello", max_new_tokens=3).run.wait_s))
    thread.start()
    kept.finish()
    thread.join(HANG_S)
    assert 0 <= waited[0] < time.perf_counter() - started


def test_sessions_must_be_one_or_more() -> None:
    with pytest.raises(InputError, match="sessions is 0"):
        EngineOptions(sessions=0)


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_threads_are_some_and_not_without_bound(threads: int) -> None:
    with pytest.raises(InputError, match=f"threads is {threads}; it must be 1 to 1024"):
        EngineOptions(threads=threads)
    assert EngineOptions(threads=1024).threads == 1024
