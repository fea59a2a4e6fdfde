"""Which answer uses which cache: a few caches serve any number of answers, in any threads.

An answer asks for a cache at each of its steps, with all of its tokens. It gets the one that it has, else one that no
answer has (the one that holds the most of its tokens), else a new one up to a limit, else it waits. Whatever cache it
gets, it loads its whole sequence there, of which only what is missing is computed. So which cache that is never changes
an answer, and an answer whose cache was taken away goes on as if nothing had happened; it only costs time.

That is what makes waiting safe: a cache whose answer takes no steps (an iterator that somebody keeps and does not use)
is given to the next. Nothing can wait for ever, in no number of threads, and not in one that holds all answers itself.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from weakref import WeakSet, ref

from nexus_edge.engines.base import closed
from nexus_edge.runtimes.vlm.context import Context, Tokens

IDLE_S = 1.0  # without a step, before an answer's cache is given to one that waits: a reader is quicker than that
POLL_S = 0.01  # between two looks of one that waits. Nothing wakes it, because an answer may end in the garbage
# collector, which can run inside of any lock; `ended`, or its disappearance, is all that it leaves.

_tickets = count()


@dataclass(eq=False)
class Claim:
    """An answer's claim on a cache; it lasts until it is `ended`, or nobody refers to it any more.

    Attributes:
        ended: the answer takes no more steps
        running: it is in the middle of one
        thread: that took all steps so far; None before the first, 0 if there were several
        ticket: the order of those that wait
    """

    ended: bool = False
    running: bool = False
    thread: int | None = None
    ticket: int = field(default_factory=lambda: next(_tickets))


class _Slot:
    """A cache, and the answer that has it. The answer is one attribute: no interrupt leaves half of a change."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.used = 0.0  # when the last step ended
        self._claim: ref[Claim] | None = None

    @property
    def claim(self) -> Claim | None:
        """Whose cache it is; None if nobody's."""
        claim = None if self._claim is None else self._claim()
        return None if claim is None or claim.ended else claim

    def give(self, claim: Claim) -> None:
        """It is this answer's from now on."""
        self._claim = ref(claim)


class ContextPool:
    """Up to `limit` contexts, each made by `make` when it is first needed, for steps in any thread."""

    def __init__(self, make: Callable[[], Context], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._slots: list[_Slot] = []
        self._waiting: WeakSet[Claim] = WeakSet()
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def step(self, claim: Claim, tokens: Tokens, check: Callable[[], None]) -> Iterator[Context]:
        """A context for one step of an answer, and for nobody else until it is over.

        Args:
            claim: the answer's
            tokens: its whole sequence, by which the best context is chosen
            check: called while it waits; what it raises ends the wait

        Raises:
            InputError: the pool is closed.
        """
        slot = self._wait(claim, tokens, check)
        try:
            yield slot.context
        finally:
            slot.used = time.monotonic()
            claim.running = False

    def require_open(self) -> None:
        """Raises InputError if the pool is closed."""
        if self._closed:
            raise closed()

    def close(self) -> None:
        """Give all contexts up; steps that run are not disturbed."""
        with self._lock:
            self._closed = True
            self._slots.clear()

    def _wait(self, claim: Claim, tokens: Tokens, check: Callable[[], None]) -> _Slot:
        try:
            while True:
                check()
                with self._lock:
                    slot = self._find(claim, tokens)
                    if slot is not None:
                        slot.give(claim)
                        me = threading.get_ident()
                        claim.thread = me if claim.thread in (None, me) else 0
                        claim.running = True
                        return slot
                    self._waiting.add(claim)
                time.sleep(POLL_S)
        finally:
            with self._lock:
                self._waiting.discard(claim)

    def _find(self, claim: Claim, tokens: Tokens) -> _Slot | None:
        """The context for an answer's next step, or None if it has to wait."""
        self.require_open()
        for slot in self._slots:
            if slot.claim is claim:
                return slot
        if any(other.ticket < claim.ticket and not other.ended for other in self._waiting):
            return None
        if free := [slot for slot in self._slots if slot.claim is None]:
            return max(free, key=lambda slot: (slot.context.reusable(tokens), -slot.used))
        if len(self._slots) < self._limit:
            self._slots.append(_Slot(self._make()))
            return self._slots[-1]
        idle = min(self._slots, key=lambda slot: (_is_running(slot), slot.used))
        if _is_running(idle):
            return None
        # Where this thread alone takes the steps of all others, none of them can end while it waits.
        alone = all(_thread(slot) == threading.get_ident() for slot in self._slots)
        return idle if alone or time.monotonic() - idle.used > IDLE_S else None


def _is_running(slot: _Slot) -> bool:
    claim = slot.claim
    return claim is not None and claim.running


def _thread(slot: _Slot) -> int | None:
    claim = slot.claim
    return None if claim is None else claim.thread
