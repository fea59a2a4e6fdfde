"""The cache in pages: the same logits as with variables, in pieces and after growing, where it can be used at all."""

from collections.abc import Callable

import numpy as np
import pytest
from golden_phi3 import Case

from nexus_edge.bundle import Bundle
from nexus_edge.engines.openvino.decoder import StatefulDecoder, stateful_decoders
from nexus_edge.engines.openvino.engine import DECODER, OpenVinoEngine
from nexus_edge.engines.openvino.paged_decoder import PagedDecoder, paged_decoders
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.interfaces.engine import Positions
from nexus_edge.runtimes import EngineOptions

pytestmark = pytest.mark.slow

NOISE = 1e-5  # of the largest logit: float32 sums in another order, as in test_openvino_engine.py
EXACT = OpenVinoSettings("f32", 0, "f32")
TOKENS = 75  # more than two blocks of 32, the last one in part
GOLDEN = "config.json"


@pytest.fixture(scope="module")
def bundle(golden_bundle: Callable[..., Bundle]) -> Bundle:
    return golden_bundle("fp32", GOLDEN, ("openvino",))


@pytest.fixture(scope="module")
def embeds(bundle: Bundle) -> np.ndarray:
    hidden = bundle.manifest.graphs["openvino"][DECODER].inputs[0].shape[2]
    assert isinstance(hidden, int)
    return np.random.default_rng(0).standard_normal((TOKENS, hidden), np.float32)


@pytest.fixture(scope="module")
def expected(bundle: Bundle, embeds: np.ndarray) -> np.ndarray:
    """Logits after all tokens, from the decoder that keeps its cache in variables."""
    return stateful_decoders(bundle.graph("openvino", DECODER), EXACT, 1)().extend(embeds, 0, at(0, TOKENS)).copy()


def at(start: int, stop: int) -> Positions:
    """In a sequence of the length whose factors these tests compare."""
    return Positions(np.arange(start, stop, dtype=np.int64)[None], max(stop, TOKENS))


@pytest.fixture
def paged(bundle: Bundle) -> PagedDecoder:
    return paged_decoders(bundle.graph("openvino", DECODER), EXACT, 1)()


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=NOISE * np.abs(expected).max())


@pytest.mark.parametrize("piece", [TOKENS, 32, 7, 1])
def test_in_pieces(paged: PagedDecoder, embeds: np.ndarray, expected: np.ndarray, piece: int) -> None:
    """Room is made piece by piece, so the cache grows on the way and what was there must stay."""
    for start in range(0, TOKENS, piece):
        stop = min(start + piece, TOKENS)
        found = paged.extend(embeds[start:stop], start, at(start, stop))
    assert_same(found, expected)


@pytest.mark.parametrize("kept", [0, 31, 32, 50])
def test_back_to_a_prefix(paged: PagedDecoder, embeds: np.ndarray, expected: np.ndarray, kept: int) -> None:
    paged.extend(np.concatenate([embeds[:kept], -embeds[kept:]]), 0, at(0, TOKENS))
    assert_same(paged.extend(embeds[kept:], kept, at(kept, TOKENS)), expected)


def test_what_is_cached_counts(paged: PagedDecoder, embeds: np.ndarray, expected: np.ndarray) -> None:
    paged.extend(-embeds[:50], 0, at(0, 50))
    found = paged.extend(embeds[50:], 50, at(50, TOKENS))
    assert np.abs(found - expected).max() > 1000 * NOISE * np.abs(expected).max()


def test_room_is_kept(paged: PagedDecoder, embeds: np.ndarray, expected: np.ndarray) -> None:
    paged.extend(embeds[:40], 0, at(0, 40))
    paged.reserve(2000, 40)
    paged.reserve(10, 40)
    assert_same(paged.extend(embeds[40:], 40, at(40, TOKENS)), expected)


def test_a_sliding_window_is_not_paged(golden_bundle: Callable[..., Bundle]) -> None:
    bundle, case = golden_bundle("fp32", "config_sliding20.json", ("openvino",)), Case("text_sliding")
    decoder = OpenVinoEngine(bundle, EngineOptions(threads=1), EXACT).decoder()
    assert isinstance(decoder._decoder, StatefulDecoder)
    ids = case.input_ids[0].numpy()
    recorded = case.stages["logits"][0, -1].numpy()
    assert_same(decoder.extend(decoder.embed(ids), 0, at(0, len(ids))), recorded)
