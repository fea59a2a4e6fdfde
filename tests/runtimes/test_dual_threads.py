"""One dual encoder, many threads: each gets its own rows, also of towers that nobody has loaded before."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import toy_dual

from nexus_edge.bundle import Bundle
from nexus_edge.engines.onnx.session import open_session
from nexus_edge.runtimes import EngineOptions, load_dual_encoder

WORKERS, ROUNDS = 8, 25
NOISE = 1e-6  # as in test_dual_encoder.py
LABELS = (["red", "green"], ["green", "blue"], ["blue", "red", "green"])


@pytest.mark.parametrize("threads", [1, 2])
def test_two_hundred_calls_at_once(dual_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    opened: list[str] = []

    def counted(path: Path, threads: int) -> object:
        opened.append(f"{path.stem} {threads}")
        return open_session(path, threads)

    monkeypatch.setattr("nexus_edge.engines.onnx.session.open_session", counted)
    colors = ["red", "green", "blue"]
    alone = load_dual_encoder(dual_bundle, EngineOptions(threads=threads))
    images = [toy_dual.plain_image(color) for color in colors]
    rows, texts = alone.embed_images(images), alone.embed_texts(colors)
    expected = [alone.classify(images[0], labels).best for labels in LABELS]
    opened.clear()
    model = load_dual_encoder(dual_bundle, EngineOptions(threads=threads))

    def work(number: int) -> bool:
        place = number % len(images)
        same = np.allclose(model.embed_images([images[place]])[0], rows[place], atol=NOISE, rtol=0)
        same &= np.allclose(model.embed_images(images), rows, atol=NOISE, rtol=0)
        same &= np.allclose(model.embed_texts([colors[place]])[0], texts[place], atol=NOISE, rtol=0)
        return same and model.classify(images[0], LABELS[number % 3]).best == expected[number % 3]

    with ThreadPoolExecutor(WORKERS) as pool:
        assert all(pool.map(work, range(WORKERS * ROUNDS)))
    assert len(opened) == len(set(opened)), "each tower is loaded once"
