"""One model, many threads: every answer is the one that a fresh model gives alone, however others were ended.

The embedded checkpoint tells questions and images apart, so an answer to another's prompt, or one made of two, is
seen. What is expected comes from models that answered nothing else.
"""

import gc
import random
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from nexus_edge.assets.heldout import HeldOutQuestion, held_out_questions
from nexus_edge.bundle import Bundle
from nexus_edge.errors import InputError
from nexus_edge.runtimes import VLM, AnswerStream, EngineOptions, GenerationOptions, load_vlm

pytestmark = pytest.mark.slow

ROUNDS = {"onnx": 200, "openvino": 200, "coreml": 6}
"""Races, and early ends, by engine. Without a Mac the evaluator stands for Core ML: an answer takes it a second, so
each kind of ending comes once."""

BUNDLES = {"onnx": "tiny_openvino", "openvino": "tiny_openvino", "coreml": "coreml_vlm"}
"""Engine -> fixture."""

TOKENS = 6  # of an answer; the expected ones differ within them
HANG_S = 300  # a deadlock lasts for ever; a race takes 0.1 s, and 5 s on a machine that is busy with ten others

Load = Callable[..., VLM]


class Prepared:
    """The processor of a bundle, which prepares each image once: half of the time of these tests, and none of them is
    about it."""

    def __init__(self, processor: Any) -> None:
        self._processor, self._done = processor, dict[tuple[str, str], Any]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def __call__(self, prompt: str, images: Iterable[Any] = ()) -> Any:
        key = (prompt, str(images))
        if key not in self._done:
            self._done[key] = self._processor(prompt, images)
        return self._done[key]


@pytest.fixture(scope="module", params=list(ROUNDS))
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def opened(engine: str, request: pytest.FixtureRequest) -> Callable[[], VLM]:
    """A model in the engine, from its files."""
    bundle: Bundle = request.getfixturevalue(BUNDLES[engine])
    return lambda: load_vlm(bundle, EngineOptions(threads=1, engine=engine))


@pytest.fixture(scope="module")
def load(opened: Callable[[], VLM]) -> Load:
    """(sessions) -> a model in the engine that has answered nothing yet; weights are loaded once."""
    model = opened()
    prepared: Any = Prepared(model.processor)
    return lambda sessions=2: VLM(model.engine, model.host, prepared, model.limits, sessions)


@pytest.fixture(scope="module")
def questions() -> list[HeldOutQuestion]:
    """Four about one image, whose tokens may be in either cache, and one about another."""
    found = [question for question in held_out_questions(15) if question.image.stem in ("001", "002")]
    return found[:4] + found[-1:]


@pytest.fixture(scope="module")
def alone(opened: Callable[[], VLM], questions: list[HeldOutQuestion]) -> dict[HeldOutQuestion, str]:
    """Each one's answer of a model that answered nothing before, on weights that were loaded for this."""
    model = opened()
    answers = {question: ask(model.session(), question).finish().text for question in questions}
    assert len(set(answers.values())) == len(answers), "one answer could be taken for another"
    return answers


def ask(model: VLM, question: HeldOutQuestion, **options: Any) -> AnswerStream:
    return model.generate(question.question, [question.image], max_new_tokens=TOKENS, **options)


def together(*work: Callable[[], object]) -> list[Any]:
    """What each gives, in threads that begin at the same moment."""
    start = threading.Barrier(len(work))

    def run(one: Callable[[], object]) -> object:
        start.wait(HANG_S)
        return one()

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(HANG_S) for future in [pool.submit(run, one) for one in work]]


@pytest.mark.parametrize("sessions", [1, 2])
def test_races(
    engine: str, load: Load, questions: list[HeldOutQuestion], alone: dict[HeldOutQuestion, str], sessions: int
) -> None:
    model, draw = load(sessions), random.Random(sessions)
    for _ in range(ROUNDS[engine] // 2):
        pair = draw.sample(questions, 2)
        answers = together(*(lambda question=question: ask(model, question).finish().text for question in pair))
        assert answers == [alone[question] for question in pair]
    assert [ask(model, question).finish().text for question in questions] == list(alone.values())


def closed(pieces: AnswerStream) -> None:
    next(pieces)
    pieces.close()


def forgotten(pieces: AnswerStream) -> None:
    """By the garbage collector, from inside a cycle."""
    next(pieces)
    cycle: list[object] = [pieces]
    cycle.append(cycle)


def interrupted(pieces: AnswerStream) -> None:
    next(pieces)
    with pytest.raises(KeyboardInterrupt):
        pieces.throw(KeyboardInterrupt())


def cancelled(pieces: AnswerStream) -> None:
    next(pieces)
    pieces.cancel()
    assert pieces.finish().finish == "cancelled"


def never_begun(pieces: AnswerStream) -> None:
    pieces.close()


def another_thread(pieces: AnswerStream) -> None:
    """That cancels it at any moment of a step."""
    timer = threading.Timer(random.random() * 0.02, pieces.cancel)
    timer.start()
    pieces.finish()
    timer.join()


ENDINGS = (closed, forgotten, interrupted, cancelled, never_begun, another_thread)


def test_early_ends(
    engine: str, load: Load, questions: list[HeldOutQuestion], alone: dict[HeldOutQuestion, str]
) -> None:
    """Each beside an answer in another thread, which is right, and so is the next one."""
    model, draw = load(2), random.Random(0)
    for number in range(ROUNDS[engine]):
        left, right = draw.sample(questions, 2)
        _, found = together(
            lambda number=number, left=left: ENDINGS[number % len(ENDINGS)](ask(model, left)),
            lambda right=right: ask(model, right).finish().text,
        )
        assert found == alone[right]
        if number % 4 == 0:
            assert ask(model, left).finish().text == alone[left]
    gc.collect()
    assert [ask(model, question).finish().text for question in questions] == list(alone.values())


@pytest.mark.parametrize("sessions", [1, 2])
def test_iterators_that_are_advanced_in_turn_in_one_thread(
    load: Load, questions: list[HeldOutQuestion], alone: dict[HeldOutQuestion, str], sessions: int
) -> None:
    """More of them than caches: none waits for another, and none is wrong."""
    model = load(sessions)
    streams = {question: ask(model, question) for question in questions}
    open_, texts = list(questions), dict.fromkeys(questions, "")
    while open_:
        for question in list(open_):
            piece = next(streams[question], None)
            if piece is None:
                open_.remove(question)
            else:
                texts[question] += piece
    assert texts == alone


def test_an_iterator_that_is_kept_and_not_used_holds_nobody_up(
    load: Load, questions: list[HeldOutQuestion], alone: dict[HeldOutQuestion, str]
) -> None:
    """It goes on when it is asked to, though its cache was given to the other meanwhile."""
    model = load(1)
    kept = ask(model, questions[0])
    begun = next(kept)
    (answer,) = together(lambda: ask(model, questions[1]).finish().text)
    assert answer == alone[questions[1]]
    assert begun + "".join(kept) == alone[questions[0]]


def test_conversations_do_not_disturb_each_other(load: Load, questions: list[HeldOutQuestion]) -> None:
    options, follow_up = GenerationOptions(max_new_tokens=TOKENS), "What is on the left?"

    def talk(model: VLM, question: HeldOutQuestion) -> list[str]:
        chat = model.chat(options)
        return [chat.send(question.question, [question.image]).finish().text, chat.send(follow_up).finish().text]

    expected = [talk(load(), question) for question in questions[:2]]
    model = load(2)
    first, second = (model.chat(options) for _ in range(2))
    turns = [[], []]
    for text, seen in ((None, True), (follow_up, False)):
        for chat, question, said in zip((first, second), questions, turns, strict=False):
            images = [question.image] if seen else []
            said.append(chat.send(text or question.question, images).finish().text)
    assert turns == expected
    assert together(*(lambda q=question: talk(model, q) for question in questions[:2])) == expected


def test_a_session_keeps_its_cache_whatever_the_model_answers(load: Load, questions: list[HeldOutQuestion]) -> None:
    model = load(1)
    with model.session() as session:
        mine = ask(session, questions[0]).finish()
        for question in questions:
            ask(model, question).finish()
        again = ask(session, questions[0]).finish()
    assert again.text == mine.text
    assert again.run.reused_tokens == mine.prompt_tokens - 1
    with pytest.raises(InputError, match="closed"):
        next(ask(session, questions[0]))
    assert ask(model, questions[0]).finish().text == mine.text, "the model is open still"


def test_cancelling_ends_a_wait(load: Load, questions: list[HeldOutQuestion], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nexus_edge.runtimes.vlm.context_pool.IDLE_S", HANG_S)
    model, event = load(1), threading.Event()
    kept = ask(model, questions[0])
    next(kept)
    threading.Timer(0.2, event.set).start()
    (waited,) = together(lambda: ask(model, questions[1], cancel=event).finish())
    assert (waited.text, waited.finish) == ("", "cancelled")
    assert waited.run.wait_s == 0 and waited.run.prefill_s == 0
