"""The decoder's packages with their states: any number of tokens in calls of the few lengths that they are made for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nexus_edge.engines.coreml.mil import MilFunction
from nexus_edge.engines.coreml.parts import GROWN, HIDDEN, LENGTH, LOGITS, POSITION, CoremlParts
from nexus_edge.engines.coreml.session import CoremlFunction, CoremlState, open_function
from nexus_edge.errors import BundleError, PromptError
from nexus_edge.interfaces.engine import Floats, Positions


@dataclass(frozen=True)
class Piece:
    """One call: tokens `start` to `stop` of what is given, filled up to `width`; the first is at `position`."""

    start: int
    stop: int
    width: int
    position: int


def pieces(tokens: int, past: int, widths: Sequence[int], context: int) -> Iterator[Piece]:
    """Cut tokens into calls.

    The widest call that fits takes them; what it is filled up with is written after them into the caches, so that even
    then it may not go past their end. A single token takes the call for one.

    Args:
        tokens: how many there are
        past: how many are cached
        widths: tokens of a call, the fewest (1) first
        context: tokens that the caches hold

    Raises:
        PromptError: they do not fit into the caches
    """
    if past + tokens > context:
        raise PromptError(
            f"{past + tokens} tokens do not fit into the {context} that these Core ML packages keep; shorten the prompt"
        )
    start = 0
    while start < tokens:
        fitting = [width for width in widths if past + start + width <= context]
        enough = [width for width in fitting if width >= tokens - start]
        width = enough[0] if enough else fitting[-1]
        stop = min(start + width, tokens)
        yield Piece(start, stop, width, past + start)
        start = stop


def filled(rows: Floats, piece: Piece) -> Floats:
    """Rows of a piece with zeros after them: [1, tokens, hidden] -> [1, width, hidden]"""
    part = rows[:, piece.start : piece.stop]
    return np.pad(part, ((0, 0), (0, piece.width - part.shape[1]), (0, 0)))


class CoremlChunks:
    """Chunks one after the other, and the head; the states of a sequence belong to who asks.

    Args:
        parts: the packages
        units: of each of them, by the name of its folder, see `advice.UNITS`
    """

    def __init__(self, parts: CoremlParts, units: Mapping[str, str]) -> None:
        self._parts = parts
        self._chunks = [
            {width: _open(function, units) for width, function in chunk.functions.items()} for chunk in parts.chunks
        ]
        self._head = _open(parts.head, units)

    def new_states(self) -> list[CoremlState]:
        """Empty caches, one for each chunk."""
        return [next(iter(functions.values())).new_state() for functions in self._chunks]

    def extend(self, embeds: Floats, past: int, positions: Positions, states: Sequence[CoremlState]) -> Floats:
        """Embeddings [tokens, hidden] after the first `past` tokens of the caches -> logits [vocab] of the last.

        A program takes one number for a token's place in the caches and in the sequence.

        Args:
            positions: of these tokens
            states: of the sequence
        """
        last = embeds = embeds[None]
        for piece in pieces(embeds.shape[1], past, self._parts.widths, self._parts.context):
            x = filled(embeds, piece)
            given = {
                POSITION: np.array([piece.position], np.int32),
                LENGTH: np.array([positions.length], np.int32),
            }
            for functions, state in zip(self._chunks, states, strict=True):
                x = functions[piece.width].run({HIDDEN: x, **given}, state)[GROWN]
            last = x[:, piece.stop - piece.start - 1 :][:, :1]
        logits: Floats = self._head.run({HIDDEN: last})[LOGITS][0, 0]
        if not np.isfinite(logits).all():
            raise BundleError(f"{self._head.where}: produced NaN logits; export the bundle again")
        return logits


def _open(function: MilFunction, units: Mapping[str, str]) -> CoremlFunction:
    return open_function(function, units.get(function.package.name, "all"))
