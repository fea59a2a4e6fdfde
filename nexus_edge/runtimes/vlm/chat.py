"""A conversation: several turns with images, of which only what is new is computed."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from nexus_edge._arguments import require_text
from nexus_edge.errors import InputError
from nexus_edge.processing import Processor
from nexus_edge.processing.images import ImageInput, load_image
from nexus_edge.processing.messages import ImagePart, Message, TextPart
from nexus_edge.processing.segments import Prompt
from nexus_edge.processing.sources import as_images
from nexus_edge.runtimes.vlm.answer import Answer
from nexus_edge.runtimes.vlm.answer_stream import AnswerStream, Watcher
from nexus_edge.runtimes.vlm.async_stream import AsyncAnswerStream
from nexus_edge.runtimes.vlm.generation import GenerationOptions

BUSY = "the answer to the last turn is still being made; read all of its chunks, or close it, before the next turn"


class Answerer(Protocol):
    """What a conversation needs of a `VLM`."""

    @property
    def processor(self) -> Processor:
        """Of the model."""

    def stream(
        self,
        prompt: str | Prompt,
        images: Sequence[ImageInput],
        options: GenerationOptions,
        cancel: threading.Event | None,
        watcher: Watcher | None,
    ) -> AnswerStream:
        """The answer to a complete prompt."""


class ChatSession:
    """The turns so far. Each prompt is the whole conversation, so that an answer does not depend on what was cached.

    Any number of conversations with one model may go on at the same time, in any threads. Within one of them a turn
    begins when the answer to the last one is over; a second thread is told so with an InputError.
    """

    def __init__(self, model: Answerer, options: GenerationOptions, system: str | None) -> None:
        self._model = model
        self._options = options
        self._system: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        self._said = _Said(tuple(self._system), ())
        self._answering = threading.Lock()  # held from the first piece of an answer to its last, never waited for

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation, an interrupted answer as far as it came."""
        return self._said.messages

    def reset(self) -> None:
        """Forget all turns and images; the system message stays."""
        self._said = _Said(tuple(self._system), ())

    def send(
        self, text: str, images: ImageInput | Sequence[ImageInput] = (), *, cancel: threading.Event | None = None
    ) -> AnswerStream:
        """The answer to a next turn with its images, in pieces.

        Texts are text: neither `text` nor an answer of an earlier turn can hold a control token or the place of a
        image, whatever it looks like.

        A turn whose answer fails, or stops before its first piece, is as if it had not been sent.

        Args:
            text: of the turn
            images: one or several of what `ImageInput` allows
            cancel: ends the answer early once it is set, see `AnswerStream.cancel`

        Raises:
            InputError: the answer to the last turn is still being made, or `text` is no text
            PromptError: the conversation does not fit into the context any more
            ImageError: an image cannot be read
        """
        require_text("text", text)
        loaded = [load_image(image, f"image {index + 1}") for index, image in enumerate(as_images(images))]
        content: list[TextPart | ImagePart] = [
            *[ImagePart(type="image")] * len(loaded),
            TextPart(type="text", text=text),
        ]
        if self._answering.locked():
            raise InputError(BUSY)
        before = self._said
        asked = _Said((*before.messages, {"role": "user", "content": content}), (*before.images, *loaded))
        prompt = self._model.processor.apply_chat_template(asked.messages)
        return self._model.stream(prompt, asked.images, self._options, cancel, _Turn(self, before, asked))

    def asend(self, text: str, images: ImageInput | Sequence[ImageInput] = ()) -> AsyncAnswerStream:
        """As `send`, for `async for`; see `VLM.agenerate`."""
        return AsyncAnswerStream(lambda: self.send(text, images))


@dataclass(frozen=True, eq=False)
class _Said:
    """What was said so far; in one piece, so that no thread sees messages without their images."""

    messages: tuple[Message, ...]
    images: tuple[ImageInput, ...]


class _Turn:
    """Keeps a turn when its answer is over; see `Watcher`."""

    def __init__(self, chat: ChatSession, before: _Said, asked: _Said) -> None:
        self._chat, self._before, self._asked = chat, before, asked
        self._begun = False

    def begin(self) -> None:
        self._begun = self._chat._answering.acquire(blocking=False)
        if not self._begun:
            raise InputError(BUSY)
        if self._chat._said is not self._before:
            raise InputError("the conversation went on since this turn was sent; send it again")

    def end(self, answer: Answer) -> None:
        if answer.text and self._chat._said is self._before:
            answered: Message = {"role": "assistant", "content": answer.text}
            self._chat._said = _Said((*self._asked.messages, answered), self._asked.images)
        if self._begun:
            self._chat._answering.release()
