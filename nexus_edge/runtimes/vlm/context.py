"""What the decoder's cache holds, and how a sequence gets in there with the least work.

Two things decide what may be reused. Tokens must be the same from the start, and keys must have been rotated with the
same list of LongRoPE factors: models of the Phi-3 family use one list for whole sequences up to
`original_max_position_embeddings`, another beyond, so that a cache never serves both (LongRoPE, arXiv 2402.13753).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from nexus_edge.engines.base import Decoder, Floats, Ids
from nexus_edge.errors import PromptError

CHUNK = 256  # tokens of a prefill call: as fast as more, and scratch memory grows with it


@dataclass(frozen=True)
class Tokens:
    """A sequence for the decoder.

    Attributes:
        ids: int64 [tokens], negative where a row of `features` goes
        features: [negative ids, hidden] in the order of their places; None without pictures
        keys: int64 [tokens], equal exactly where two sequences show the decoder the same thing: the id of a text token,
            a negative number made from the picture elsewhere
    """

    ids: Ids
    features: Floats | None
    keys: Ids

    @classmethod
    def of_prompt(cls, ids: Ids, pictures: Sequence[tuple[bytes, Floats]]) -> "Tokens":
        """From a prompt's ids [tokens] and its pictures (digest and features [image tokens, hidden]) in their order.

        Raises:
            PromptError: the ids leave room for another number of image tokens than the pictures have.
        """
        keys, places = ids.copy(), ids < 0
        rows = sum(len(features) for _, features in pictures)
        if int(places.sum()) != rows:
            raise PromptError(
                f"the prompt has {int(places.sum())} places for image tokens, its pictures give {rows}; "
                "use each <|image_N|> tag once"
            )
        if not pictures:
            return cls(ids, None, keys)
        keys[places] = np.concatenate([np.full(len(features), _picture_key(digest)) for digest, features in pictures])
        return cls(ids, np.concatenate([features for _, features in pictures]), keys)

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, id_: int) -> "Tokens":
        """The sequence and one more text token."""
        return Tokens(np.append(self.ids, id_), self.features, np.append(self.keys, id_))

    def features_of(self, start: int, stop: int) -> Floats | None:
        """The rows of `features` that belong to the places among tokens `start` to `stop`."""
        if self.features is None:
            return None
        first = int((self.ids[:start] < 0).sum())
        return self.features[first : first + int((self.ids[start:stop] < 0).sum())]


@dataclass(frozen=True)
class _Cached:
    """The first `length` of `tokens` are in the cache, their keys rotated with the long list or the short one."""

    tokens: Tokens
    length: int
    is_long: bool


def never() -> None:
    """The check of those who never stop early."""


class Context:
    """Feeds one sequence after the other to a decoder and reuses what the cache already has; for one thread at a time.

    Every state between two calls of the decoder is consistent: an interrupt at any place loses work but nothing else.
    """

    def __init__(self, decoder: Decoder, rope_limit: int | None) -> None:
        """`rope_limit`: the longest sequence for the short list of LongRoPE; None for a model without LongRoPE."""
        self._decoder = decoder
        self._rope_limit = rope_limit
        self._cached = _Cached(Tokens.of_prompt(np.zeros(0, np.int64), ()), 0, is_long=False)

    def load(self, tokens: Tokens, check: Callable[[], None] = never) -> tuple[Floats, int]:
        """Make the cache hold `tokens`: logits [vocab] of the last one, and how many tokens were reused.

        Args:
            tokens: the whole sequence
            check: called before each call of the decoder; what it raises ends the work
        """
        reused = min(self.reusable(tokens), len(tokens) - 1)  # the last one must run to give logits
        return self._run(tokens, reused, self._is_long(len(tokens)), check), reused

    def reusable(self, tokens: Tokens) -> int:
        """How many tokens from the start are in the cache as this sequence needs them."""
        return self._common_prefix(tokens) if self._is_long(len(tokens)) == self._cached.is_long else 0

    def append(self, id_: int) -> Floats:
        """Add one text token to the sequence: logits [vocab] after it.

        A sequence that grows past the limit is computed anew with the long list, as if it had been that long from the
        start.
        """
        cached = self._cached
        tokens = cached.tokens.append(id_)
        is_long = self._is_long(len(tokens))
        return self._run(tokens, cached.length if is_long == cached.is_long else 0, is_long, never)

    def _run(self, tokens: Tokens, start: int, is_long: bool, check: Callable[[], None]) -> Floats:
        """Compute `tokens[start:]`, which must not be empty."""
        self._cached = _Cached(tokens, start, is_long)
        self._decoder.reserve(len(tokens), past=start)
        logits: Floats | None = None
        while start < len(tokens):
            check()
            stop = min(start + CHUNK, len(tokens))
            features = tokens.features_of(start, stop)
            # All pieces of a long sequence take the long list, also the first, which for themselves would be short.
            shortest = self._rope_limit + 1 if is_long and self._rope_limit is not None else 0
            logits = self._decoder.extend(tokens.ids[start:stop], features, past=start, rope_length=max(stop, shortest))
            start = stop
            self._cached = _Cached(tokens, start, is_long)
        assert logits is not None
        return logits

    def _is_long(self, length: int) -> bool:
        return self._rope_limit is not None and length > self._rope_limit

    def _common_prefix(self, tokens: Tokens) -> int:
        held = self._cached.tokens.keys[: self._cached.length]
        common = min(len(held), len(tokens))
        different = np.flatnonzero(held[:common] != tokens.keys[:common])
        return int(different[0]) if len(different) else common


def picture_digest(pixel_values: Floats, image_sizes: Ids) -> bytes:
    """A hash of what the vision encoder reads of a picture."""
    digest = blake2b(np.ascontiguousarray(pixel_values).data, digest_size=16)
    digest.update(np.ascontiguousarray(image_sizes).data)
    return digest.digest()


def _picture_key(digest: bytes) -> int:
    return -1 - int.from_bytes(digest[:7], "big")
