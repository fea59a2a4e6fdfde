"""Texts in batches of similar length, so that little of what a tower computes is padding."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from nexus_edge.interfaces.engine import Ids
from nexus_edge.processing import DualProcessor

CHUNK = 4096  # texts that are tokenised at once: 8 MB of ids
PAD = 0  # the id that a tower does not look at


class TruncatedTextWarning(UserWarning):
    """A text is longer than the model reads; its end has no part in the embedding."""


def batches(processor: DualProcessor, texts: Sequence[str], size: int) -> Iterator[tuple[Ids, Ids]]:
    """Places of up to `size` texts among all, and their ids int64 [texts, tokens], as wide as the longest of them.

    Warns once, after the last batch, of all texts that were cut.
    """
    cut: list[tuple[int, int]] = []
    for start in range(0, len(texts), CHUNK):
        ids = processor.texts(list(texts[start : start + CHUNK]))
        widths = ids.shape[1] - (ids != PAD)[:, ::-1].argmax(axis=1)
        cut += _cut(processor, texts, start + np.flatnonzero(widths == ids.shape[1]))
        order = np.argsort(widths, kind="stable")
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            yield start + rows, np.ascontiguousarray(ids[rows, : widths[rows].max()])
    if cut:
        _warn(texts, cut, processor.context_length)


def _cut(processor: DualProcessor, texts: Sequence[str], places: Ids) -> Iterator[tuple[int, int]]:
    """Place and number of dropped tokens of each text at `places` that has more than the model reads."""
    for place in places:
        dropped = processor.count_tokens(texts[place]) - processor.context_length
        if dropped > 0:
            yield int(place), dropped


def _warn(texts: Sequence[str], cut: Sequence[tuple[int, int]], context: int) -> None:
    place, dropped = max(cut, key=lambda item: item[1])
    which = "a text was" if len(cut) == 1 else f"{len(cut)} texts were"
    most = "its" if len(cut) == 1 else "the longest one's"
    warnings.warn(
        f"{which} cut to the {context} tokens that the model reads: {most} last {dropped:,} tokens were dropped "
        f"({' '.join(texts[place][:60].split())!r}...)",
        TruncatedTextWarning,
        stacklevel=4,  # the caller of DualEncoder.embed_texts
    )
