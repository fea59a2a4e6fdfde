"""How the ONNX Runtime engine of a dual encoder spreads images over threads."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_dual

from nexus_edge.bundle import Bundle
from nexus_edge.engines.onnx import dual as onnx_dual_engine
from nexus_edge.engines.onnx.session import open_session
from nexus_edge.runtimes import EngineOptions


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Graph and threads of every session that is opened."""
    found: list[tuple[str, int]] = []

    def counted(path: Path, threads: int) -> Any:
        found.append((path.stem, threads))
        return open_session(path, threads)

    monkeypatch.setattr("nexus_edge.engines.onnx.session.open_session", counted)
    return found


@pytest.mark.parametrize(
    ("threads", "images", "expected"),
    [(1, 1, 1), (1, 5, 1), (2, 1, 2), (2, 2, 1), (2, 7, 1), (8, 7, 8)],
)
def test_images_run_apart_when_there_are_enough(
    dual_bundle: Bundle, opened: list[tuple[str, int]], threads: int, images: int, expected: int
) -> None:
    """`expected`: the threads of the one session; with 1 they run apart, with more all together."""
    pixels = np.random.default_rng(0).standard_normal((images, 3, toy_dual.SIDE, toy_dual.SIDE), np.float32)
    engine = onnx_dual_engine.open_engine(dual_bundle, EngineOptions(threads=threads))
    vectors = [engine.encode_images(pixels) for _ in range(2)]
    assert opened == [("image_encoder", expected)]
    # float32 noise of one mean and one norm, which numpy takes in another order
    np.testing.assert_allclose(vectors[0], toy_dual.image_embedding(pixels), atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_no_images_give_no_rows(dual_bundle: Bundle) -> None:
    engine = onnx_dual_engine.open_engine(dual_bundle, EngineOptions(threads=2))
    pixels = np.zeros((0, 3, toy_dual.SIDE, toy_dual.SIDE), np.float32)
    assert engine.encode_images(pixels).shape == (0, toy_dual.DIM)


def test_texts_run_together(dual_bundle: Bundle, opened: list[tuple[str, int]]) -> None:
    engine = onnx_dual_engine.open_engine(dual_bundle, EngineOptions(threads=2))
    engine.encode_texts(np.ones((5, 3), np.int64))
    assert opened == [("text_encoder", 2)]
