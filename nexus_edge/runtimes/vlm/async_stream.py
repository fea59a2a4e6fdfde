"""An answer for a program that must not wait: a thread makes it, and hands its pieces to an event loop."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

from nexus_edge.errors import InputError
from nexus_edge.runtimes.vlm.answer import Answer
from nexus_edge.runtimes.vlm.answer_stream import AnswerStream


class AsyncAnswerStream(AsyncIterator[str]):
    """The pieces of an answer, see `AnswerStream`; nothing is computed before the first is awaited.

    The thread is the answer's own and takes no place in a pool, because it may wait for other answers. It does not wait
    for whoever awaits the pieces. A task that is cancelled while it awaits one cancels the answer, and so does a stream
    that is forgotten.

        async with model.agenerate("What is shown?", images=["scan.png"]) as pieces:
            async for piece in pieces:
                await send(piece)
        print(pieces.answer.finish)
    """

    def __init__(self, start: Callable[[], AnswerStream]) -> None:
        """`start`: asks the model; it runs in the thread, because preparing images takes time as well."""
        self._start = start
        self._work: _Work | None = None
        self._ended = False

    @property
    def answer(self) -> Answer:
        """The whole answer; raises InputError as long as there may be more of it."""
        if self._work is None or self._work.answer is None:
            raise InputError("the answer is not complete; read all of its chunks, or cancel it, before you ask for it")
        return self._work.answer

    def cancel(self) -> None:
        """End the answer at its next token, image, or part of the prompt; its stream then ends without an error."""
        self._begun().cancel()

    async def finish(self) -> Answer:
        """Take what is left of it, and return the whole."""
        async for _ in self:
            pass
        return self.answer

    async def aclose(self) -> None:
        """Cancel it, and wait until it takes no more steps."""
        if self._work is not None and not self._ended:
            self._work.cancel()
            async for _ in self:
                pass

    async def __aenter__(self) -> "AsyncAnswerStream":
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()

    async def __anext__(self) -> str:
        if self._ended:
            raise StopAsyncIteration
        work = self._begun()
        try:
            item = await work.pieces.get()
        except asyncio.CancelledError:
            work.cancel()
            raise
        if isinstance(item, str):
            return item
        self._ended = True
        raise StopAsyncIteration if item is None else item

    def __del__(self) -> None:
        if self._work is not None:
            self._work.cancel()

    def _begun(self) -> "_Work":
        if self._work is None:
            self._work = _Work(self._start)
            threading.Thread(target=self._work.run, name="nexus-edge answer").start()
        return self._work


class _Work:
    """The thread's side. It does not refer to the stream, so that one that is forgotten can disappear."""

    def __init__(self, start: Callable[[], AnswerStream]) -> None:
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._stream: AnswerStream | None = None
        self._cancelled = False
        self.pieces: asyncio.Queue[str | BaseException | None] = asyncio.Queue()  # None is the end
        self.answer: Answer | None = None

    def run(self) -> None:
        """Make the answer."""
        ending: BaseException | None = None
        try:
            with self._start() as stream:
                self._stream = stream
                if self._cancelled:  # before there was a stream to be told
                    stream.cancel()
                for piece in stream:
                    self._hand_over(piece)
            self.answer = stream.answer
        except BaseException as error:  # noqa: BLE001  # raised where the answer is awaited
            ending = error
        self._hand_over(ending)

    def cancel(self) -> None:
        """May be called from any thread, and from the garbage collector: it takes no lock."""
        self._cancelled = True
        if self._stream is not None:
            self._stream.cancel()

    def _hand_over(self, item: str | BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self.pieces.put_nowait, item)
        except RuntimeError:  # the loop is closed, so nobody awaits the rest
            self.cancel()
