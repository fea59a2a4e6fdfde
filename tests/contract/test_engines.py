"""Every engine and kind of model: the contract of threads, early ends and closing, at the smallest size."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from bundles import Bundles, of_kind, row_for
from PIL import Image

import nexus_edge
from nexus_edge.errors import InputError
from nexus_edge.runtimes import VLM, DualEncoder, EngineOptions

pytestmark = pytest.mark.slow
HANG_S = 300  # a deadlock lasts for ever
TOKENS = 2
NOISE = 1e-6  # of a unit vector: how a batch is divided between threads may change the order of a sum
QUESTIONS = (("What is shown?", 0), ("Is it red?", 1))


@pytest.fixture
def vlm(engine: str, bundle_of: Bundles) -> Iterator[VLM]:
    with nexus_edge.load(bundle_of(row_for(engine, "vlm")), EngineOptions(threads=1, engine=engine)) as model:
        assert isinstance(model, VLM)
        yield model


@pytest.fixture
def dual(engine: str, bundle_of: Bundles) -> Iterator[DualEncoder]:
    with nexus_edge.load(bundle_of(row_for(engine, "dual_encoder")), EngineOptions(threads=1, engine=engine)) as model:
        assert isinstance(model, DualEncoder)
        yield model


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (100, 150, 3), np.uint8))


def ask(model: VLM, question: tuple[str, int]) -> list[int]:
    text, seed = question
    said = model.answer(text, [picture(seed)], max_new_tokens=TOKENS, logprobs=0)
    return [token.id for token in said.logprobs or ()]


def together(*work: Callable[[], Any]) -> list[Any]:
    """What each gives, in threads that begin at the same moment."""
    start = threading.Barrier(len(work))

    def run(one: Callable[[], Any]) -> Any:
        start.wait(HANG_S)
        return one()

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(HANG_S) for future in [pool.submit(run, one) for one in work]]


@of_kind("vlm")
def test_answers_of_two_threads_are_those_that_each_gets_alone(vlm: VLM) -> None:
    alone = []
    for question in QUESTIONS:
        with vlm.session() as session:
            alone.append(ask(session, question))
    assert together(*(lambda question=question: ask(vlm, question) for question in QUESTIONS)) == alone

    stream = vlm.generate(QUESTIONS[1][0], [picture(1)], max_new_tokens=TOKENS)
    next(stream, None)
    stream.close()
    assert [ask(vlm, question) for question in QUESTIONS] == alone, "an early end leaves a cache to be trusted"


@of_kind("vlm")
def test_a_closed_model_says_so_and_a_closed_session_closes_itself_alone(vlm: VLM) -> None:
    text = QUESTIONS[0][0]
    with vlm.session() as session:
        assert session.answer(text, max_new_tokens=1).new_tokens >= 1
    with pytest.raises(InputError, match="closed"):
        session.answer(text, max_new_tokens=1)
    assert vlm.answer(text, max_new_tokens=1).new_tokens >= 1
    for _ in range(2):
        vlm.close()
    with pytest.raises(InputError, match="this model is closed; load it again"):
        vlm.answer(text, max_new_tokens=1)


@of_kind("dual_encoder")
def test_rows_of_two_threads_are_those_that_each_gets_alone(dual: DualEncoder) -> None:
    pictures, texts = [picture(0), picture(1)], ["one", "and two"]
    images, sentences = dual.embed_images(pictures), dual.embed_texts(texts)
    assert not np.allclose(images[0], images[1], atol=NOISE, rtol=0), "one could be taken for the other"
    found = together(
        lambda: dual.embed_images(pictures[1:]), lambda: dual.embed_images(pictures), lambda: dual.embed_texts(texts)
    )
    for rows, expected in zip(found, (images[1:], images, sentences), strict=True):
        np.testing.assert_allclose(rows, expected, rtol=0, atol=NOISE)


@of_kind("dual_encoder")
def test_closed_towers_say_so(dual: DualEncoder) -> None:
    dual.embed_texts(["one"])
    for _ in range(2):
        dual.close()
    for closed in (lambda: dual.embed_texts(["one"]), lambda: dual.embed_images([picture(0)])):
        with pytest.raises(InputError, match="this model is closed; load it again"):
            closed()
