"""An answer while it is made: an iterator over its pieces that can be cancelled, and has the whole at its end."""

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Protocol

from nexus_edge.errors import InputError
from nexus_edge.runtimes.vlm.answer import Answer, TokenLogprob
from nexus_edge.runtimes.vlm.generation import RunStats


class Cancelled(Exception):  # noqa: N818  # no error: it ends the work on an answer from inside, and nobody sees it
    """Nobody wants the rest of an answer."""


class Watcher(Protocol):
    """Is told of an answer that is made; `end` may come from the garbage collector, so it must not wait for a lock."""

    def begin(self) -> None:
        """Its first piece was asked for; what this raises ends it."""

    def end(self, answer: Answer) -> None:
        """It is complete, or as far as it will ever be."""


@dataclass
class Draft:
    """What is known of an answer so far: written by the work on it, read by its stream.

    Attributes:
        event: of the caller's, that cancels it when it is set
        watcher: see `Watcher`
    """

    run: RunStats
    event: threading.Event | None = None
    watcher: Watcher | None = None
    text: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] | None = None
    cancelled: bool = False
    ended: bool = False

    def check(self) -> None:
        """Raises Cancelled if the answer was cancelled."""
        if self.cancelled or (self.event is not None and self.event.is_set()):
            raise Cancelled

    def answer(self) -> Answer:
        """As far as it came."""
        return Answer("".join(self.text), replace(self.run), None if self.logprobs is None else tuple(self.logprobs))

    def begin(self) -> None:
        """Its first piece was asked for."""
        if self.watcher is not None:
            self.watcher.begin()

    def end(self) -> None:
        """There will be no more of it."""
        self.ended = True
        if self.watcher is not None:
            self.watcher.end(self.answer())


class AnswerStream(Generator[str, None, None]):
    """The pieces of an answer, each of whole characters; nothing is computed before the first is asked for.

    It may be left at any place: taken to its end, closed, cancelled, forgotten, or ended by an exception. One thread at
    a time may take pieces, but not always the same; `cancel` and `close` may be called from any.

        with model.generate("What is shown?", images=["scan.png"]) as pieces:
            for piece in pieces:
                print(piece, end="")
        print(pieces.answer.finish)
    """

    def __init__(self, draft: Draft, pieces: Iterator[str]) -> None:
        """`pieces`: a generator that does the work and writes `draft`; it must not refer to this stream."""
        self._draft = draft
        self._pieces: Any = pieces
        self._turn = threading.Lock()

    @property
    def answer(self) -> Answer:
        """The whole answer; raises InputError as long as there may be more of it."""
        if not self._draft.ended:
            raise InputError("the answer is not complete; read all of its chunks, or cancel it, before you ask for it")
        return self._draft.answer()

    @property
    def run(self) -> RunStats:
        """Counts and times as they are now."""
        return self._draft.run

    def cancel(self) -> None:
        """End the answer at its next token, image, or part of the prompt; its stream then ends without an error."""
        self._draft.cancelled = True

    def finish(self) -> Answer:
        """Take what is left of it, and return the whole."""
        for _ in self:
            pass
        return self.answer

    def send(self, value: None) -> str:
        """The next piece."""
        return self._step(lambda: self._pieces.send(value))

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> str:
        """Raise an exception where the work on the answer stands, which ends it."""
        return self._step(lambda: self._pieces.throw(typ if val is None else val))

    def close(self) -> None:
        """End the answer here. While another thread takes a piece it is cancelled instead."""
        if not self._turn.acquire(blocking=False):
            self.cancel()
            return
        try:
            self._pieces.close()
        finally:
            self._turn.release()

    def __enter__(self) -> "AnswerStream":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _step(self, take: Callable[[], str]) -> str:
        if not self._turn.acquire(blocking=False):
            raise InputError("another thread is reading this answer; ask the model for one answer per thread")
        try:
            return take()
        finally:
            self._turn.release()
