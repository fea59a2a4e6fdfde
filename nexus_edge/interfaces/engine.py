"""What runs the graphs of a vision-language model: it knows graphs and what they declare, and no family."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

Run = Callable[[str, Mapping[str, Array]], Mapping[str, Array]]
"""Runs a graph, named as in the manifest, on its inputs by name; all outputs by name. Raises BundleError."""


@dataclass(frozen=True)
class Positions:
    """Where the tokens of one call of a decoder are in their sequence.

    Attributes:
        ids: int64 [axes, tokens]; one axis for text order alone, three for M-RoPE
        length: of the sequence, or any with the same regime (see `PositionScheme`); at least the tokens so far
    """

    ids: Ids
    length: int


class Engine(Protocol):
    """The graphs of a vision-language model: weights, which any number of threads and decoders share."""

    @property
    def target(self) -> str:
        """Whose graphs it runs."""

    @property
    def context_length(self) -> int | None:
        """Most tokens that the cache can hold; None: as many as the model takes."""

    def vision(self) -> AbstractContextManager[Run]:
        """Inside, runs graphs that an image goes through once: each is loaded when it first runs.

        Afterwards they are let go, unless the engine was told to keep them. One caller at a time, others wait.
        """

    def decoder(self) -> "Decoder":
        """A decoder with an empty cache, on the weights of all others."""

    def close(self) -> None:
        """Let go of the graphs. Calls that run are not disturbed, and no other may follow."""


class Decoder(Protocol):
    """The decoder of a vision-language model with the KV cache of one sequence, for one call at a time.

    Calls of several decoders may run at the same time. A call that an exception ends (Ctrl-C too) leaves the first
    `past` tokens of the cache as they were.
    """

    def embed(self, ids: Ids) -> Floats:
        """Embeddings of tokens, int64 [tokens], 0 or more -> [tokens, hidden]; the caller's to change."""

    def reserve(self, tokens: int, past: int) -> None:
        """Make room in the cache for a sequence of this length; its first `past` tokens stay."""

    def extend(self, embeds: Floats, past: int, positions: Positions) -> Floats:
        """Run tokens through the decoder, after the first `past` tokens of the cache.

        What the cache held after those is overwritten, so going back to a prefix costs nothing.

        Args:
            embeds: [tokens, hidden]
            past: cached tokens that stay, at most as many as earlier calls left there
            positions: of these tokens

        Returns:
            logits of the last token, [vocab]; valid until the next call
        """
