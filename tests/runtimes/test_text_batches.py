"""Texts cut into batches: every text once, in batches of like length, across the chunks that are tokenised at once."""

import warnings

import numpy as np
import pytest

from nexus_edge.runtimes.dual_encoder import text_batches

CONTEXT = 20


class Words:
    """A processor that makes one id per word, and 0 for padding."""

    context_length = CONTEXT
    image_size = 1

    def texts(self, texts: list[str]) -> np.ndarray:
        rows = np.zeros((len(texts), CONTEXT), np.int64)
        for row, text in zip(rows, texts, strict=True):
            ids = [len(word) for word in text.split()][:CONTEXT]
            row[: len(ids)] = ids
        return rows

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def images(self, images: list[object]) -> np.ndarray:
        raise NotImplementedError


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_every_text_comes_once_with_its_own_ids(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_batches, "CHUNK", chunk)
    random = np.random.default_rng(2)
    texts = [" ".join("x" * random.integers(1, 9) for _ in range(random.integers(1, CONTEXT))) for _ in range(50)]
    seen: dict[int, list[int]] = {}
    for places, ids in text_batches.batches(Words(), texts, 4):
        assert 1 <= len(places) <= 4 and len(ids) == len(places)
        assert ids.flags.c_contiguous and (ids[:, -1] != 0).any(), "no column is padding alone"
        seen |= {int(place): row[row != 0].tolist() for place, row in zip(places, ids, strict=True)}
    assert seen == {place: [len(word) for word in text.split()] for place, text in enumerate(texts)}


def test_a_batch_holds_texts_of_like_length() -> None:
    texts = ["a " * length for length in (19, 1, 18, 2, 17, 3)]
    assert [ids.shape[1] for _, ids in text_batches.batches(Words(), texts, 2)] == [2, 17, 19]


def test_a_zero_inside_a_text_is_not_taken_for_its_end() -> None:
    class Gap(Words):
        def texts(self, texts: list[str]) -> np.ndarray:
            return np.array([[5, 0, 6, 0, 0]])

    ((_, ids),) = text_batches.batches(Gap(), ["x"], 1)
    assert ids.tolist() == [[5, 0, 6]]


def test_all_texts_that_were_cut_are_counted_in_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_batches, "CHUNK", 2)
    texts = ["a " * 21, "a", "a " * 20, "b " * 1020, "c " * 25]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(text_batches.batches(Words(), texts, 2))
    (only,) = caught
    assert str(only.message).startswith(f"3 texts were cut to the {CONTEXT} tokens that the model reads: ")
    assert "last 1,000 tokens were dropped ('b b b" in str(only.message)
