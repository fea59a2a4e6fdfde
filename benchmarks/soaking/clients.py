"""Eight threads on one loaded model: every answer is that of a client who has the model alone.

Some leave their answer where it is, cancel it, or hold a conversation: whatever they do, nobody else notices.
"""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

import numpy as np

from nexus_edge.assets.heldout import held_out_questions
from nexus_edge.runtimes import EngineOptions, load_dual_encoder, load_vlm

from .desk import Desk, Row, Step

CLIENTS = 8
SECONDS = {"onnx": 300, "openvino": 60}
QUESTIONS = 12
TOKENS = 24
SAME = 1e-5  # cosines of the same embedding computed alone or among others, whose float32 sums may differ in order

Work = Callable[[int, Random], str | None]
"""One thing that a client does with question `number`: what is wrong with it, None if nothing."""


def steps(desk: Desk) -> Iterator[Step]:
    """One for each engine."""
    for engine in SECONDS:
        yield Step(f"clients of {engine}", partial(run, engine))


def run(engine: str, desk: Desk) -> Row:
    """Both models are loaded once; each client asks and embeds as it likes."""
    questions, options = held_out_questions(QUESTIONS), EngineOptions(engine=engine)
    vlm, towers = load_vlm(desk.bundle("phi3-vision"), options), load_dual_encoder(desk.bundle("biomedclip"), options)

    def ask(number: int) -> str:
        question = questions[number]
        return vlm.answer(question.question, [question.image], max_new_tokens=TOKENS).text

    def cosines(number: int) -> np.ndarray:
        image = towers.embed_images([questions[number].image])
        return image @ towers.embed_texts([question.question for question in questions[: 1 + number]]).T

    answers = [ask(number) for number in range(QUESTIONS)]
    likeness = [cosines(number) for number in range(QUESTIONS)]

    def answer(number: int, random: Random) -> str | None:
        got = ask(number)
        return None if got == answers[number] else f"answered {got!r:.100}, not {answers[number]!r:.100}"

    def converse(number: int, random: Random) -> str | None:
        question, pieces = questions[number], list[str]()
        model = vlm.session() if random.random() < 0.2 else vlm
        for piece in model.chat().send(question.question, [question.image]):
            pieces.append(piece)
        if model is not vlm:
            model.close()
        got, right = "".join(pieces), answers[number]
        return None if got.startswith(right) or right.startswith(got) else f"said {got!r:.100}, not {right!r:.100}"

    def leave(number: int, random: Random) -> str | None:
        question, kept = questions[number], ""
        stream = vlm.generate(question.question, [question.image], max_new_tokens=TOKENS)
        for taken, piece in enumerate(stream):
            kept += piece
            if taken == random.randrange(4):
                break
        if random.random() < 0.5:
            stream.cancel()
        return None if answers[number].startswith(kept) else f"began {kept!r:.100}, not {answers[number]!r:.100}"

    def embed(number: int, random: Random) -> str | None:
        away = float(np.abs(cosines(number) - likeness[number]).max())
        return None if away <= SAME else f"cosines are {away:.2g} away"

    return race(f"8 clients at once in {engine}", desk, SECONDS[engine], (answer, answer, converse, leave, embed))


def race(what: str, desk: Desk, whole: float, works: tuple[Work, ...]) -> Row:
    """All clients do random things until the time is over."""
    seconds = max(2.0, whole * desk.scale)
    ends, done, wrong, lock = time.perf_counter() + seconds, [0], list[str](), threading.Lock()

    def client(name: int) -> None:
        random = desk.random(f"{what} {name}")
        while time.perf_counter() < ends:
            number, work = random.randrange(QUESTIONS), random.choice(works)
            try:
                problem = work(number, random)
            except Exception as error:  # noqa: BLE001  that is what is looked for
                problem = f"{work.__name__}: {type(error).__name__}: {error}"
            with lock:
                done[0] += 1
                if problem is not None:
                    wrong.append(problem)

    threads = [threading.Thread(target=client, args=(name,), daemon=True) for name in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 300)
        if thread.is_alive():
            wrong.append("a client that waits for ever")
    return Row(what, done[0], tuple(wrong), f"{seconds:.0f} s, {done[0] / seconds:.1f} requests a second")
