"""What the decoder's cache holds, and how a sequence gets in there with the least work.

Two things decide what may be reused. Tokens must be the same from the start, and keys must have been made in the same
regime of the model's positions (see `PositionScheme`): a cache never serves two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nexus_edge.errors import PromptError
from nexus_edge.interfaces.engine import Decoder, Floats, Ids, Positions
from nexus_edge.interfaces.host import Merge, PositionScheme, PromptTokens, VlmHost
from nexus_edge.processing.merging import merge_features

CHUNK = 256  # tokens of a prefill call: as fast as more, and scratch memory grows with it


@dataclass(frozen=True)
class Encoded:
    """An image after its encoder: a hash of what went in, and features [image tokens, hidden]."""

    digest: bytes
    features: Floats


@dataclass(frozen=True)
class Tokens:
    """A sequence for the decoder.

    Attributes:
        ids: int64 [tokens], see `PromptTokens`
        is_image: bool [tokens of the prompt], where the next row of `features` goes; only text follows
        features: [image tokens, hidden]; None without images
        keys: int64 [tokens], equal exactly where two sequences show the decoder the same thing: the id of a text token,
            a negative number made from the image elsewhere
        positions: int64 [axes, tokens of the prompt]
    """

    ids: Ids
    is_image: NDArray[np.bool_]
    features: Floats | None
    keys: Ids
    positions: Ids

    @classmethod
    def of_prompt(cls, prompt: PromptTokens, images: Sequence[Encoded], scheme: PositionScheme) -> "Tokens":
        """From a prompt and its images in their order.

        Raises:
            PromptError: the prompt leaves room for another number of image tokens than the images have.
        """
        keys, is_image, positions = prompt.ids.copy(), prompt.is_image, scheme.of_prompt(prompt)
        rows = sum(len(image.features) for image in images)
        if int(is_image.sum()) != rows:
            raise PromptError(
                f"the prompt has {int(is_image.sum())} positions for image tokens, its images give {rows}; "
                "tag each image once"
            )
        if not images:
            return cls(prompt.ids, is_image, None, keys, positions)
        keys[is_image] = np.concatenate([np.full(len(image.features), _image_key(image.digest)) for image in images])
        features = np.concatenate([image.features for image in images])
        return cls(prompt.ids, is_image, features, keys, positions)

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, id_: int) -> "Tokens":
        """The sequence and one more text token."""
        ids, keys = np.append(self.ids, id_), np.append(self.keys, id_)
        return Tokens(ids, self.is_image, self.features, keys, self.positions)

    def merged(self, embeds: Floats, start: int, merge: Merge) -> Floats:
        """Embeddings [tokens, hidden] of the tokens from `start` on, with image features where they go; in place."""
        here = self.is_image[start : start + len(embeds)]
        if self.features is None or not here.any():
            return embeds
        first = int(self.is_image[:start].sum())
        return merge_features(embeds, here, self.features[first : first + int(here.sum())], merge)


@dataclass(frozen=True)
class _Cached:
    """The first `length` of `tokens` are in the cache, their keys made in a regime."""

    tokens: Tokens
    length: int
    regime: int


def never() -> None:
    """The check of those who never stop early."""


@dataclass
class Context:
    """Feeds one sequence after the other to a decoder and reuses what the cache already has; for one thread at a time.

    Every state between two calls of the decoder is consistent: an interrupt at any place loses work but nothing else.
    """

    decoder: Decoder
    host: VlmHost
    _cached: _Cached | None = field(default=None, init=False)

    def load(self, tokens: Tokens, check: Callable[[], None] = never) -> tuple[Floats, int]:
        """Make the cache hold `tokens`: logits [vocab] of the last one, and how many tokens were reused.

        Args:
            tokens: the whole sequence
            check: called before each call of the decoder; what it raises ends the work
        """
        reused = min(self.reusable(tokens), len(tokens) - 1)  # the last one must run to give logits
        return self._run(tokens, reused, check), reused

    def reusable(self, tokens: Tokens) -> int:
        """How many tokens from the start are in the cache as this sequence needs them."""
        cached = self._cached
        if cached is None or self._regime(len(tokens)) != cached.regime:
            return 0
        held = cached.tokens.keys[: cached.length]
        common = min(len(held), len(tokens))
        different = np.flatnonzero(held[:common] != tokens.keys[:common])
        return int(different[0]) if len(different) else common

    def append(self, id_: int) -> Floats:
        """Add one text token to a sequence that was loaded: logits [vocab] after it.

        A sequence that grows into another regime is computed anew, as if it had been that long from the start.
        """
        cached = self._cached
        assert cached is not None, "nothing was loaded"
        tokens = cached.tokens.append(id_)
        return self._run(tokens, cached.length if self._regime(len(tokens)) == cached.regime else 0, never)

    def _run(self, tokens: Tokens, start: int, check: Callable[[], None]) -> Floats:
        """Compute `tokens[start:]`, which must not be empty."""
        total, regime = len(tokens), self._regime(len(tokens))
        self._cached = _Cached(tokens, start, regime)
        self.decoder.reserve(total, past=start)
        logits: Floats | None = None
        while start < total:
            check()
            stop = min(start + CHUNK, total)
            embeds = tokens.merged(self.decoder.embed(tokens.ids[start:stop]), start, self.host.merge)
            # All chunks of a sequence are of its regime, also the first, which for themselves would be of another.
            length = stop if self._regime(stop) == regime else total
            positions = Positions(self.host.positions.between(tokens.positions, start, stop), length)
            logits = self.decoder.extend(embeds, past=start, positions=positions)
            start = stop
            self._cached = _Cached(tokens, start, regime)
        assert logits is not None
        return logits

    def _regime(self, length: int) -> int:
        return self.host.positions.regime(length)


def _image_key(digest: bytes) -> int:
    return -1 - int.from_bytes(digest[:7], "big")
