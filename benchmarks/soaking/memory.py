"""Long runs: after many answers and embeddings, memory, objects, files and threads are what they were after some."""

import gc
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from nexus_edge.runtimes import EngineOptions, load_dual_encoder, load_vlm

from .desk import Desk, Row, Step

ANSWERS, EMBEDDINGS = 1000, 10_000
BATCH = 50
GROWTH = 8e6
"""Bytes that the later part may have above the earlier: an allocator keeps some. One image of this size an answer would
be 22 MB, a decoder's cache 300."""
OBJECTS, MOST_OBJECTS = 0.02, 20
"""Python objects a call, and in all, that may be more at the end: a leak is one a call, and some come once."""
LOOKS = 100  # at what is held


def held() -> tuple[int, int, int, int]:
    """What this process holds: bytes in memory, Python objects, open files, threads."""
    gc.collect()
    pages, files = int(Path("/proc/self/statm").read_text().split()[1]), len(list(Path("/proc/self/fd").iterdir()))
    return pages * os.sysconf("SC_PAGE_SIZE"), len(gc.get_objects()), files, threading.active_count()


def steps(desk: Desk) -> Iterator[Step]:
    """Answers and embeddings in both engines."""
    for engine in ("onnx", "openvino"):
        yield Step(f"memory of answers in {engine}", partial(answers, engine))
        yield Step(f"memory of embeddings in {engine}", partial(embeddings, engine))


def answers(engine: str, desk: Desk) -> Row:
    """Questions about eight images and about none; whole answers, answers that are left, and new conversations."""
    images = np.random.default_rng(desk.seed).integers(0, 256, (8, 96, 128, 3), np.uint8)
    with load_vlm(desk.bundle("phi3-vision"), EngineOptions(engine=engine, threads=1)) as model:

        def answer(number: int) -> None:
            shown = [images[number % 8]] if number % 3 else []
            if number % 10 == 9:
                chat = model.chat()
                for _ in chat.send(f"What is shown in image {number}?", shown):
                    break
                return
            for _ in model.generate(f"What is shown in image {number}?", shown, max_new_tokens=4):
                pass

        return measure(f"answers in {engine}", desk.count(ANSWERS), answer, 1)


def embeddings(engine: str, desk: Desk) -> Row:
    """Images and texts, in batches whose sizes differ."""
    images = np.random.default_rng(desk.seed).integers(0, 256, (8, 96, 128, 3), np.uint8)
    with load_dual_encoder(desk.bundle("biomedclip"), EngineOptions(engine=engine, threads=1)) as towers:

        def embed(number: int) -> None:
            shown = 4 + number % 4
            towers.embed_images(list(images[:shown]))
            towers.embed_texts([f"cell {number} of {place}" for place in range(BATCH - shown)])

        return measure(f"embeddings in {engine}", desk.count(EMBEDDINGS), embed, BATCH)


def measure(what: str, count: int, work: Callable[[int], None], at_once: int) -> Row:
    """Do `count` pieces of work, `at_once` in each call; the first quarter fills caches and arenas."""
    calls = max(8, count // at_once)
    # An array, so that what is noted does not count as objects.
    looks, every = np.zeros((LOOKS, 4), np.int64), -(-calls // LOOKS)
    for number in range(calls):
        work(number)
        looks[number // every] = held()
    looks = looks[: (calls - 1) // every + 1]
    quarter, half = len(looks) // 4, 5 * len(looks) // 8
    sizes = looks[:, 0]
    grown = float(np.median(sizes[half:]) - np.median(sizes[quarter:half]))
    objects, files, threads = (int(more) for more in (looks[-1] - looks[quarter])[1:])
    wrong = []
    if grown > GROWTH:
        wrong.append(f"{grown / 1e6:+.1f} MB")
    if objects > max(MOST_OBJECTS, OBJECTS * calls):
        wrong.append(f"{objects:+,} objects in the last three quarters of {calls:,} calls")
    if files > 0 or threads > 0:
        wrong.append(f"{files:+} files, {threads:+} threads")
    measured = f"{np.median(sizes[half:]) / 1e6:.0f} MB, {grown / 1e6:+.1f} MB and {objects:+} objects in its course"
    return Row(f"memory over {what}", calls * at_once, tuple(wrong), measured)
