"""Long runs: memory after many answers and embeddings is what it was after some."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from soak_parts import Desk, Row

import nexus_edge
from nexus_edge.runtimes import VLM, DualEncoder

ANSWERS, EMBEDDINGS = 1000, 10_000
BATCH = 50
GROWTH = 8e6
"""Bytes that the second half may have above the first: an allocator keeps some; one image an answer would be 500."""


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run(desk: Desk) -> list[Row]:
    """A row for answers and one for embeddings."""
    random = np.random.default_rng(desk.seed)
    images = random.integers(0, 256, (8, 96, 128, 3), np.uint8)
    vlm, towers = (nexus_edge.load(desk.bundle(name)) for name in ("phi3-vision", "biomedclip"))
    assert isinstance(vlm, VLM)
    assert isinstance(towers, DualEncoder)

    def answer(number: int) -> None:
        shown = [images[number % 8]] if number % 3 else []
        for _ in vlm.generate(f"What is shown in picture {number}?", shown, max_new_tokens=4):
            pass

    def embed(number: int) -> None:
        towers.embed_images(list(images[: 4 + number % 4]))
        towers.embed_texts([f"cell {number} of {place}" for place in range(BATCH - 4 - number % 4)])

    return [
        measure("answers", desk.count(ANSWERS), answer, 1),
        measure("embeddings", desk.count(EMBEDDINGS), embed, BATCH),
    ]


def measure(what: str, count: int, work: Callable[[int], None], at_once: int) -> Row:
    """Do `count` pieces of work, `at_once` in each call, and look at the memory after each call."""
    calls = max(4, count // at_once)
    sizes = []
    for number in range(calls):
        work(number)
        sizes.append(resident())
    # The first quarter fills caches and arenas.
    first, second = np.median(sizes[calls // 4 : 5 * calls // 8]), np.median(sizes[5 * calls // 8 :])
    wrong = (f"{(second - first) / 1e6:+.1f} MB",) if second - first > GROWTH else ()
    measured = f"{second / 1e6:.0f} MB, {(second - first) / 1e6:+.1f} MB between the halves"
    return Row(f"memory over {what}", calls * at_once, wrong, measured)
