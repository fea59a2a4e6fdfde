"""Eight threads on one loaded model: every answer is that of a client who has the model alone."""

import threading
import time
from collections.abc import Callable, Mapping

from soak_parts import Desk, Row

import nexus_edge
from nexus_edge.assets.heldout import held_out_questions
from nexus_edge.errors import NexusEdgeError
from nexus_edge.runtimes import VLM, DualEncoder

CLIENTS = 8
SECONDS = 300  # half for answers, half for embeddings
QUESTIONS = 12


def run(desk: Desk) -> list[Row]:
    """A row for answers and one for embeddings."""
    seconds = max(2.0, SECONDS * desk.scale) / 2
    questions = held_out_questions(QUESTIONS)
    vlm, towers = (nexus_edge.load(desk.bundle(name)) for name in ("phi3-vision", "biomedclip"))
    assert isinstance(vlm, VLM)
    assert isinstance(towers, DualEncoder)

    def answer(number: int) -> str:
        question = questions[number]
        return "".join(vlm.generate(question.question, [question.picture], max_new_tokens=24))

    def embed(number: int) -> str:
        # Rows of one batch are computed alike whatever else runs; six digits are what float32 sums leave.
        image = towers.embed_images([questions[number].picture])
        return str((image @ towers.embed_texts([questions[number].question]).T).round(5).tolist())

    return [
        race("answers of clients at once", desk, answer, range(len(questions)), seconds),
        race("embeddings of clients at once", desk, embed, range(len(questions)), seconds),
    ]


def race(what: str, desk: Desk, work: Callable[[int], str], numbers: range, seconds: float) -> Row:
    """All clients work on random numbers until the time is over; what each gets is held against one client's."""
    alone: Mapping[int, str] = {number: work(number) for number in numbers}
    ends, done, wrong, lock = time.perf_counter() + seconds, [0], [], threading.Lock()

    def client(name: int) -> None:
        random = desk.random(f"{what} {name}")
        while time.perf_counter() < ends:
            number = random.choice(numbers)
            try:
                got = work(number)
            except NexusEdgeError as error:
                got = f"{type(error).__name__}: {error}"
            with lock:
                done[0] += 1
                if got != alone[number]:
                    wrong.append(f"{got!r:.200}, not {alone[number]!r:.200}")

    threads = [threading.Thread(target=client, args=(name,)) for name in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Row(what, done[0], tuple(wrong), f"{CLIENTS} threads, {seconds:.0f} s, {done[0] / seconds:.1f} a second")
